"""The files of a private INN: everything below one directory, on loopback, for one user and two groups."""

import subprocess
from pathlib import Path

NEWS = Path("/usr/lib/news")

GROUPS = ("alt.binaries.test", "alt.binaries.backup")
VOID = "alt.binaries.void"
"""Articles for this group get 240 and are thrown away, as some providers do."""

FOLDERS = (
    "etc/filter",
    "db",
    "run",
    "log",
    "http",
    "spool/articles",
    "spool/incoming/tmp",
    "spool/incoming/bad",
    "spool/outgoing",
    "spool/overview",
    "spool/archive",
)

INN_CONF = """\
mta: "/bin/true %s"
organization: "contract tests"
pathhost: inn.invalid
domain: inn.invalid
fromhost: inn.invalid
runasuser: news
runasgroup: news
hismethod: hisv6
enableoverview: true
ovmethod: tradindexed
wireformat: true
port: {port}
bindaddress: 127.0.0.1
maxconnections: 200
maxartsize: 4000000
localmaxartsize: 4000000
artcutoff: 0
remembertrash: true
docancels: none
syntaxchecks: [ laxmid ]
addinjectionpostinghost: false
nnrpdloadlimit: 0
initialtimeout: 60
clienttimeout: 1800
pgpverify: false
doinnwatch: false
docnfsstat: false
logstatus: false
status: 0
timer: 0
pathnews: /usr/lib/news
pathbin: /usr/lib/news/bin
pathcontrol: /usr/lib/news/bin/control
pathdb: {root}/db
pathetc: {root}/etc
pathfilter: {root}/etc/filter
pathhttp: {root}/http
pathlog: {root}/log
pathrun: {root}/run
pathspool: {root}/spool
patharticles: {root}/spool/articles
pathincoming: {root}/spool/incoming
pathoutgoing: {root}/spool/outgoing
pathoverview: {root}/spool/overview
patharchive: {root}/spool/archive
pathtmp: {root}/spool/incoming/tmp
tlscafile: {root}/etc/cert.pem
tlscertfile: {root}/etc/cert.pem
tlskeyfile: {root}/etc/key.pem
"""

READERS_CONF = """\
auth "password" {{
    hosts: "127.0.0.1, localhost"
    auth: "ckpasswd -f {root}/etc/passwd"
}}
access "all" {{
    users: "*"
    newsgroups: "*"
    access: "RPA"
}}
"""

STORAGE_CONF = """\
method trash {
    newsgroups: alt.binaries.void
    class: 9
}
method tradspool {
    newsgroups: *
    class: 1
}
"""


def write(root: Path, port: int, users: dict[str, str]) -> None:
    """Lay out a server below ``root`` that listens at ``port`` and lets ``users`` (name -> password) in."""
    for folder in FOLDERS:
        (root / folder).mkdir(parents=True)
    etc = root / "etc"
    (etc / "inn.conf").write_text(INN_CONF.format(root=root, port=port))
    (etc / "readers.conf").write_text(READERS_CONF.format(root=root))
    (etc / "storage.conf").write_text(STORAGE_CONF)
    (etc / "newsfeeds").write_text("ME:*::\n")
    # Nobody feeds this server, so innd hands every connection to nnrpd, the readers' side.
    (etc / "incoming.conf").write_text("max-connections: 200\n")
    (etc / "expire.ctl").write_text("/remember/:11\n*:A:1:365:never\n")
    for empty in ("control.ctl", "passwd.nntp", "moderators", "nnrpd.track", "inn-secrets.conf"):
        (etc / empty).touch()
    (etc / "passwd").write_text("".join(f"{name}:{_crypted(password)}\n" for name, password in users.items()))
    groups = [f"{name} 0000000000 0000000001 n\n" for name in ("control", "control.cancel", "junk")]
    groups += [f"{name} 0000000000 0000000001 y\n" for name in (*GROUPS, VOID)]
    (root / "db" / "active").write_text("".join(groups))
    for empty in ("newsgroups", "active.times", "history"):
        (root / "db" / empty).touch()
    make_certificate(etc / "cert.pem", etc / "key.pem")


def _crypted(password: str) -> str:
    made = subprocess.run(
        ["openssl", "passwd", "-6", "-stdin"], input=password, capture_output=True, text=True, check=True
    )
    return made.stdout.strip()


def make_certificate(certificate: Path, key: Path) -> None:
    """One for localhost and 127.0.0.1, signed by itself."""
    made = (
        "openssl req -new -x509 -nodes -days 2 -newkey rsa:2048 -subj /CN=localhost"
        " -addext subjectAltName=DNS:localhost,IP:127.0.0.1"
    )
    subprocess.run(
        [*made.split(), "-out", str(certificate), "-keyout", str(key)], check=True, capture_output=True
    )
