/* sink.c - a news server that costs next to nothing, for benchmarks: takes articles and throws them away.
 *
 *   cc -O2 -o sink sink.c && ./sink [-p PORT] [-d MS] [-k] [-a]
 *     -p PORT  listen there on 127.0.0.1 (default: any free port; "port N" is printed)
 *     -d MS    every reply leaves MS milliseconds after what it answers came in: a round trip
 *     -k       keep articles in memory; STAT, HEAD, BODY and ARTICLE serve them
 *     -a       STAT says 223 to every id (for STAT rates without content)
 *
 * One thread, epoll. Clients may send the next command, or the article itself, without waiting for a reply.
 * XSTATS answers "290 <articles> <article bytes> <STAT commands> <connections>".
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RECEIVE_BYTES (1 << 18)
#define LINE_BYTES 1024
#define BUCKETS (1 << 18)
#define TAIL 4 /* of a terminator's five bytes, those that may have come earlier */

typedef struct article {
  struct article *next;
  char *id, *content;
  size_t length, body_at;
} article;

typedef struct output {
  struct output *next;
  char *owned; /* NULL: part of an article, which is never freed */
  const char *from;
  size_t left;
} output;

typedef struct connection {
  int fd, posting, closed, wants_out;
  char tail[TAIL];
  char line[LINE_BYTES];
  size_t line_length;
  char *kept;
  size_t kept_length, kept_room;
  output *first, *last;
} connection;

typedef struct due {
  struct due *next;
  double at;
  connection *to;
  char reply[LINE_BYTES + 64];
  const article *found;
  char part;
} due;

static article *articles_by_id[BUCKETS];
static due *due_first, *due_last;
static double delay_s;
static int keep, has_all, poller;
static unsigned long long articles, article_bytes, stats, connections;

static void *checked(void *memory) {
  if (!memory) { fputs("sink: out of memory\n", stderr); exit(1); }
  return memory;
}

static double now_s(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return t.tv_sec + t.tv_nsec / 1e9;
}

static unsigned bucket(const char *id, size_t n) {
  unsigned h = 5381;
  while (n--) h = h * 33 ^ (unsigned char)*id++;
  return h & (BUCKETS - 1);
}

static const article *find(const char *id, size_t n) {
  for (article *a = articles_by_id[bucket(id, n)]; a; a = a->next)
    if (strlen(a->id) == n && !memcmp(a->id, id, n)) return a;
  return NULL;
}

static void watch_output(connection *c, int wanted) {
  if (c->wants_out == wanted) return;
  c->wants_out = wanted;
  struct epoll_event event = {.events = EPOLLIN | (wanted ? EPOLLOUT : 0), .data.ptr = c};
  epoll_ctl(poller, EPOLL_CTL_MOD, c->fd, &event);
}

static void flush_output(connection *c) {
  while (c->first) {
    output *o = c->first;
    ssize_t sent = send(c->fd, o->from, o->left, MSG_NOSIGNAL);
    if (sent < 0) break; /* EAGAIN: later; anything else shows up when reading */
    o->from += sent;
    o->left -= (size_t)sent;
    if (o->left) continue;
    c->first = o->next;
    if (!c->first) c->last = NULL;
    free(o->owned);
    free(o);
  }
  watch_output(c, c->first != NULL);
}

static void append(connection *c, const char *from, size_t n, int copy) {
  output *o = checked(calloc(1, sizeof *o));
  if (copy) { o->owned = checked(malloc(n)); memcpy(o->owned, from, n); from = o->owned; }
  o->from = from;
  o->left = n;
  if (c->last) c->last->next = o; else c->first = o;
  c->last = o;
}

static void send_reply(connection *c, const char *reply, const article *a, char part) {
  if (c->closed) return;
  append(c, reply, strlen(reply), 1);
  if (a && part == 'A') append(c, a->content, a->length, 0);
  if (a && part == 'B') append(c, a->content + a->body_at, a->length - a->body_at, 0);
  if (a && part == 'H') { append(c, a->content, a->body_at - 2, 0); append(c, ".\r\n", 3, 1); }
  flush_output(c);
}

/* The delay is the same for all replies, so the queue is in order of time. */
static void answer(connection *c, const char *reply, const article *a, char part) {
  if (delay_s <= 0) { send_reply(c, reply, a, part); return; }
  due *d = checked(calloc(1, sizeof *d));
  d->at = now_s() + delay_s;
  d->to = c;
  snprintf(d->reply, sizeof d->reply, "%s", reply);
  d->found = a;
  d->part = part;
  if (due_last) due_last->next = d; else due_first = d;
  due_last = d;
}

static void remember(connection *c) {
  char *end = memmem(c->kept, c->kept_length, "\r\n\r\n", 4);
  char *at = c->kept, *id = NULL;
  while (end && at < end && !id) {
    if (!strncasecmp(at, "message-id:", 11)) id = at + 11;
    else if (!(at = memchr(at, '\n', (size_t)(end + 2 - at)))) break;
    else at++;
  }
  if (!id) { free(c->kept); return; }
  while (*id == ' ') id++;
  article *a = checked(calloc(1, sizeof *a));
  a->id = checked(strndup(id, strcspn(id, "\r")));
  a->body_at = (size_t)(end - c->kept) + 4;
  a->length = c->kept_length;
  a->content = checked(realloc(c->kept, c->kept_length));
  unsigned at_bucket = bucket(a->id, strlen(a->id));
  a->next = articles_by_id[at_bucket];
  articles_by_id[at_bucket] = a;
}

static void take(connection *c, const char *from, size_t n, int ended) {
  article_bytes += n;
  if (keep) {
    if (c->kept_length + n > c->kept_room) {
      c->kept_room = c->kept_room ? c->kept_room * 2 + n : 1 << 20;
      c->kept = checked(realloc(c->kept, c->kept_room));
    }
    memcpy(c->kept + c->kept_length, from, n);
    c->kept_length += n;
  }
  if (!ended) return;
  articles++;
  c->posting = 0;
  if (keep) { remember(c); c->kept = NULL; c->kept_length = c->kept_room = 0; }
  answer(c, "240 article received\r\n", NULL, 0);
}

static void look_up(connection *c, char *line, size_t n) {
  char part = line[0] & ~32, reply[LINE_BYTES + 64];
  char *id = memchr(line, '<', n);
  size_t id_length = id ? n - (size_t)(id - line) : 0;
  const article *a = id ? find(id, id_length) : NULL;
  stats += part == 'S';
  if (!a && !(has_all && part == 'S')) { answer(c, "430 no such article\r\n", NULL, 0); return; }
  int code = part == 'S' ? 223 : part == 'B' ? 222 : part == 'H' ? 221 : 220;
  snprintf(reply, sizeof reply, "%d 0 %.*s\r\n", code, (int)id_length, id ? id : "");
  answer(c, reply, part == 'S' ? NULL : a, part);
}

static void obey(connection *c, char *line, size_t n) {
  char reply[160];
  if (!strncasecmp(line, "POST", 4)) {
    c->posting = 1;
    memcpy(c->tail, "\0\0\r\n", TAIL);
    answer(c, "340 send it\r\n", NULL, 0);
  } else if (!strncasecmp(line, "STAT", 4) || !strncasecmp(line, "BODY", 4) || !strncasecmp(line, "HEAD", 4) ||
             !strncasecmp(line, "ARTICLE", 7)) {
    look_up(c, line, n);
  } else if (!strncasecmp(line, "AUTHINFO USER", 13)) answer(c, "381 go on\r\n", NULL, 0);
  else if (!strncasecmp(line, "AUTHINFO PASS", 13)) answer(c, "281 welcome\r\n", NULL, 0);
  else if (!strncasecmp(line, "MODE", 4)) answer(c, "200 ready\r\n", NULL, 0);
  else if (!strncasecmp(line, "DATE", 4)) answer(c, "111 20260101000000\r\n", NULL, 0);
  else if (!strncasecmp(line, "GROUP", 5)) answer(c, "211 1 1 1 group\r\n", NULL, 0);
  else if (!strncasecmp(line, "CAPABILITIES", 12))
    answer(c, "101 here\r\nVERSION 2\r\nREADER\r\nPOST\r\nAUTHINFO USER\r\n.\r\n", NULL, 0);
  else if (!strncasecmp(line, "XSTATS", 6)) {
    snprintf(reply, sizeof reply, "290 %llu %llu %llu %llu\r\n", articles, article_bytes, stats, connections);
    send_reply(c, reply, NULL, 0);
  } else if (!strncasecmp(line, "QUIT", 4)) { send_reply(c, "205 bye\r\n", NULL, 0); shutdown(c->fd, SHUT_WR); }
  else answer(c, "500 unknown\r\n", NULL, 0);
}

/* The bytes up to and with the end of the article, or 0. `from` has the connection's last TAIL bytes before it. */
static size_t article_end(const char *from, size_t n) {
  const char *at = from - 2, *stop = from + n;
  if (at < from) { /* a dot may have come before, its line end only now */
    for (; at < from; at++)
      if (at[0] == '.' && at[-2] == '\r' && at[-1] == '\n' && at + 2 < stop && at[1] == '\r' && at[2] == '\n')
        return (size_t)(at + 3 - from);
  }
  /* One byte in 256 of yEnc is a dot: that is found faster than any longer needle. */
  while (at < stop && (at = memchr(at, '.', (size_t)(stop - at)))) {
    if (at + 2 < stop && at[1] == '\r' && at[2] == '\n' && at[-1] == '\n' && at[-2] == '\r')
      return (size_t)(at + 3 - from);
    at++;
  }
  return 0;
}

/* `from` has TAIL writable bytes before it. */
static void feed(connection *c, char *from, size_t n) {
  while (n) {
    size_t used;
    if (c->posting) {
      char before[TAIL];
      memcpy(before, from - TAIL, TAIL);
      memcpy(from - TAIL, c->tail, TAIL);
      size_t end = article_end(from, n);
      used = end ? end : n;
      memcpy(c->tail, from + used - TAIL, TAIL);
      take(c, from, used, end != 0);
      memcpy(from - TAIL, before, TAIL);
    } else {
      char *newline = memchr(from, '\n', n);
      used = newline ? (size_t)(newline - from) + 1 : n;
      size_t room = LINE_BYTES - 1 - c->line_length, copied = used < room ? used : room;
      memcpy(c->line + c->line_length, from, copied);
      c->line_length += copied;
      if (newline) {
        size_t length = c->line_length;
        while (length && (c->line[length - 1] == '\n' || c->line[length - 1] == '\r')) length--;
        c->line[length] = 0;
        c->line_length = 0;
        obey(c, c->line, length);
      }
    }
    from += used;
    n -= used;
  }
}

static void welcome(int listener) {
  int fd, one = 1;
  while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC)) >= 0) {
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    connection *c = checked(calloc(1, sizeof *c));
    c->fd = fd;
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = c};
    epoll_ctl(poller, EPOLL_CTL_ADD, fd, &event);
    connections++;
    answer(c, "200 sink ready\r\n", NULL, 0);
  }
}

static void receive(connection *c) {
  static char buffer[TAIL + RECEIVE_BYTES];
  ssize_t got = recv(c->fd, buffer + TAIL, RECEIVE_BYTES, 0);
  if (got > 0) { feed(c, buffer + TAIL, (size_t)got); return; }
  if (got < 0 && errno == EAGAIN) return;
  c->closed = 1; /* not freed: delayed replies may point at it */
  epoll_ctl(poller, EPOLL_CTL_DEL, c->fd, NULL);
  close(c->fd);
}

static int listen_at(int port) {
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  struct sockaddr_in at = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port)};
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t length = sizeof at;
  if (bind(fd, (void *)&at, sizeof at) || listen(fd, 256) || getsockname(fd, (void *)&at, &length)) {
    perror("sink");
    exit(1);
  }
  printf("port %d\n", ntohs(at.sin_port));
  fflush(stdout);
  return fd;
}

int main(int count, char **arguments) {
  int option, port = 0;
  while ((option = getopt(count, arguments, "p:d:ka")) != -1) {
    if (option == 'p') port = atoi(optarg);
    else if (option == 'd') delay_s = atof(optarg) / 1e3;
    else if (option == 'k') keep = 1;
    else if (option == 'a') has_all = 1;
    else return 2;
  }
  signal(SIGPIPE, SIG_IGN);
  int listener = listen_at(port);
  poller = epoll_create1(EPOLL_CLOEXEC);
  struct epoll_event event = {.events = EPOLLIN}, events[64];
  epoll_ctl(poller, EPOLL_CTL_ADD, listener, &event);
  for (;;) {
    int wait_ms = -1;
    if (due_first) {
      double left_ms = (due_first->at - now_s()) * 1e3;
      wait_ms = left_ms <= 0 ? 0 : (int)(left_ms + 0.999);
    }
    int ready = epoll_wait(poller, events, 64, wait_ms);
    while (due_first && due_first->at <= now_s()) {
      due *d = due_first;
      if (!(due_first = d->next)) due_last = NULL;
      send_reply(d->to, d->reply, d->found, d->part);
      free(d);
    }
    for (int i = 0; i < ready; i++) {
      connection *c = events[i].data.ptr;
      if (!c) { welcome(listener); continue; }
      if (events[i].events & EPOLLOUT) flush_output(c);
      if (events[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) receive(c);
    }
  }
}
