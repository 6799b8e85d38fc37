"""What sealing costs, stage by stage: ``python -m tests.benchmarks.bench_seal``. One thread, no network.

Row P1 of the targets rests on this. Peers in the same run: a memory copy of the same size, and the bare
arithmetic (BLAKE3 and AES-GCM into reused buffers) without a block, an address or a derived key.
"""

import random
import statistics
import time
from collections.abc import Callable

from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from usenetsyncd.model import SEGMENT_SIZE_BYTES, ArticleAddress, ArticleKind, Compression, Fingerprint
from usenetsyncd.wire import keys, seal
from usenetsyncd.wire.block import MAX_BLOCK_BYTES, BlockBuilder
from usenetsyncd.wire.compression import Compressor
from usenetsyncd.wire.segment import Packer, content_hash

ROUNDS = 7
KEYS = keys.read_keys(b"r" * 32, Fingerprint(b"f" * 16))
CONTENT = random.Random(1).randbytes(SEGMENT_SIZE_BYTES)
WORDS = [random.Random(n).randbytes(n % 9 + 2).hex().encode() for n in range(3_000)]
TEXT = b" ".join(random.Random(2).choices(WORDS, k=60_000))[:SEGMENT_SIZE_BYTES]


def measure(name: str, work: Callable[[], object], size_bytes: int = 0, per_round: int = 100) -> float:
    """Median seconds of ``work`` over ROUNDS rounds; prints it with the spread and the rate."""
    taken = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(per_round):
            work()
        taken.append((time.perf_counter() - begun) / per_round)
    median = statistics.median(taken)
    rate = f"{size_bytes / median / 1e6:8,.0f} MB/s" if size_bytes else " " * 13
    print(f"{name:<52}{median * 1e6:10,.1f} us {rate}   {min(taken) * 1e6:,.1f} to {max(taken) * 1e6:,.1f}")
    return median


def address(content: bytes) -> ArticleAddress:
    """The address of a data segment."""
    return ArticleAddress(ArticleKind.DATA, content_hash(KEYS.identity, content)[:16])


def stages() -> None:
    """Each step of sealing on its own."""
    block, body = bytearray(MAX_BLOCK_BYTES), memoryview(bytearray(seal.MAX_BODY_BYTES))
    cipher, nonce, at = AESGCM(bytes(32)), bytes(12), address(CONTENT)
    place = keys.encode_address(at)
    builder, compressor = BlockBuilder(), Compressor()
    measure("copy 768,000 bytes into a reused buffer", lambda: block.__setitem__(slice(12, 768_012), CONTENT))
    measure("BLAKE3 keyed, 768,000 bytes", lambda: content_hash(KEYS.identity, CONTENT), SEGMENT_SIZE_BYTES)
    measure("AES-256-GCM into a reused buffer, 770,048 bytes",
            lambda: cipher.encrypt_into(nonce, block, b"", body[32:]), MAX_BLOCK_BYTES)  # fmt: skip
    measure("AES-256-GCM into fresh memory", lambda: cipher.encrypt(nonce, block, b""), MAX_BLOCK_BYTES)
    measure("AESGCM object", lambda: AESGCM(bytes(32)), per_round=1_000)
    measure("key and nonce (HKDF-Expand, two HMACs)",
            lambda: keys.expand(KEYS.sealing, place + place, 44), per_round=1_000)  # fmt: skip
    measure("name of an article (two HMACs)", lambda: keys.name_article(KEYS.location, at), per_round=1_000)
    measure("message-id alone", lambda: keys.message_id_of(KEYS.location, at), per_round=1_000)
    measure("probe that finds noise", lambda: compressor.compress(CONTENT, Compression.ZSTD))
    measure("zstd, level 3, text", lambda: compressor.compress(TEXT, Compression.ZSTD), len(TEXT), 20)
    measure("lzma, level 6, text", lambda: compressor.compress(TEXT, Compression.LZMA), len(TEXT), 1)
    measure("block of 768,000 bytes: copy, hash, header",
            lambda: builder.build(KEYS.identity, ArticleKind.DATA, CONTENT, Compression.NONE),
            SEGMENT_SIZE_BYTES)  # fmt: skip


def whole() -> None:
    """Sealing and opening whole, against the bare arithmetic."""
    bench, at, identity = seal.Workbench(), address(CONTENT), KEYS.identity
    block, body = bytearray(MAX_BLOCK_BYTES), memoryview(bytearray(seal.MAX_BODY_BYTES))

    def bare() -> None:
        blake3(CONTENT, key=identity).digest()
        AESGCM(identity).encrypt_into(bytes(12), block, b"", body[32:])

    def in_place() -> None:
        bench.seal(KEYS, at, bench.area(SEGMENT_SIZE_BYTES), Compression.ZSTD)

    limit = measure("bare BLAKE3 and AES-GCM, reused buffers", bare, SEGMENT_SIZE_BYTES)
    ours = {}
    for codec in (Compression.NONE, Compression.ZSTD):
        name = f"Workbench.seal, {codec}, incompressible"
        ours[codec] = measure(
            name, lambda codec=codec: bench.seal(KEYS, at, CONTENT, codec), SEGMENT_SIZE_BYTES
        )  # type: ignore[misc]
    bench.area(SEGMENT_SIZE_BYTES)[:] = CONTENT
    measure("Workbench.seal, zstd, read into the bench", in_place, SEGMENT_SIZE_BYTES)
    measure(
        "seal, fresh buffers", lambda: seal.seal(KEYS, at, CONTENT, Compression.NONE), SEGMENT_SIZE_BYTES, 20
    )
    where = address(TEXT)
    measure(
        "Workbench.seal, zstd, text", lambda: bench.seal(KEYS, where, TEXT, Compression.ZSTD), len(TEXT), 20
    )
    sealed = seal.seal(KEYS, at, CONTENT, Compression.NONE)
    measure("open_sealed, incompressible", lambda: seal.open_sealed(KEYS, at, sealed), SEGMENT_SIZE_BYTES)
    sealed_text = seal.seal(KEYS, where, TEXT, Compression.ZSTD)
    measure("open_sealed, text", lambda: seal.open_sealed(KEYS, where, sealed_text), len(TEXT), 20)
    print(f"sealing costs {ours[Compression.NONE] / limit:.2f} times the bare arithmetic")


def packing() -> None:
    """1,000 files of 4,000 bytes."""
    pieces = [CONTENT[i * 700 : i * 700 + 4_000] for i in range(1_000)]

    def pack() -> None:
        packer = Packer[int](KEYS.identity)
        for key, piece in enumerate(pieces):
            packer.add(key, piece)
        packer.flush()

    seconds = measure("Packer, 1,000 files of 4,000 bytes", pack, 4_000_000, 10)
    print(f"{1_000 / seconds:,.0f} files/s packed, their own hashes not counted")


if __name__ == "__main__":
    stages()
    whole()
    packing()
