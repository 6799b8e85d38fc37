"""Codecs: tried only where they pay, and bounded on the way back.

Source: docs/format.md 5 (block). Nothing here is shared between threads: who seals owns a Compressor.
"""

import lzma

import zstandard

from usenetsyncd.errors import FormatError, LimitExceeded, NewerFormat
from usenetsyncd.model import Compression
from usenetsyncd.wire.keys import Bytes

CODEC_NUMBERS = {Compression.NONE: 0, Compression.ZSTD: 1, Compression.LZMA: 2}
CODECS = {number: codec for codec, number in CODEC_NUMBERS.items()}
DEFAULT_LEVELS = {Compression.ZSTD: 3, Compression.LZMA: 6, Compression.NONE: 0}

MAX_ZSTD_WINDOW_BYTES = 1 << 20
LZMA_DICTIONARY_BYTES = 1 << 20
MAX_LZMA_MEMORY_BYTES = 16 << 20

# Four samples of 8 KB at zstd level 1 take 15 us; compressing 768,000 random bytes in vain takes 150 us
# (and 180 ms with lzma), more than hashing and sealing them together.
_SAMPLES = 4
_SAMPLE_BYTES = 8_192
_WORTHWHILE = 0.95


class Compressor:
    """Reused codec contexts, for one thread at a time."""

    __slots__ = ("_probe", "_zstd")

    def __init__(self) -> None:
        self._probe = zstandard.ZstdCompressor(level=1)
        self._zstd: dict[int, zstandard.ZstdCompressor] = {}

    def compress(self, content: Bytes, codec: Compression, level: int | None = None) -> bytes | None:
        """The compressed content, or None where compression would not pay by 5 %.

        level: the codec's own scale (zstd 1..22, lzma 0..9); None for 3 and 6.
        """
        if codec is Compression.NONE or not self._promises_gain(content):
            return None
        level = DEFAULT_LEVELS[codec] if level is None else level
        packed = self._compress_zstd(content, level) if codec is Compression.ZSTD else _lzma(content, level)
        return packed if len(packed) < len(content) * _WORTHWHILE else None

    def _promises_gain(self, content: Bytes) -> bool:
        if len(content) <= 2 * _SAMPLES * _SAMPLE_BYTES:
            return True
        view = memoryview(content)
        stride = (len(content) - _SAMPLE_BYTES) // (_SAMPLES - 1)
        sample = b"".join(view[i * stride : i * stride + _SAMPLE_BYTES] for i in range(_SAMPLES))
        return len(self._probe.compress(sample)) < len(sample) * _WORTHWHILE

    def _compress_zstd(self, content: Bytes, level: int) -> bytes:
        compressor = self._zstd.get(level)
        if compressor is None:
            compressor = self._zstd[level] = zstandard.ZstdCompressor(level=level, write_content_size=True)
        return compressor.compress(content)


def _lzma(content: Bytes, level: int) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": level, "dict_size": LZMA_DICTIONARY_BYTES}]
    return lzma.compress(content, format=lzma.FORMAT_XZ, check=lzma.CHECK_NONE, filters=filters)


def decompress(stored: Bytes, codec: int, content_len: int) -> bytes:
    """Exactly ``content_len`` bytes, which the caller has already found acceptable.

    codec: its number in the block. Never makes more than ``content_len`` + 1 bytes, whatever ``stored`` says.
    Raises FormatError, LimitExceeded (a window or dictionary beyond its limit) and NewerFormat.
    """
    name = CODECS.get(codec)
    if name is None:
        raise NewerFormat(f"compressed with codec {codec}, which only a newer version of UsenetSync knows")
    if name is Compression.ZSTD:
        content = _decompress_zstd(stored, content_len)
    elif name is Compression.LZMA:
        content = _decompress_lzma(stored, content_len)
    else:
        content = bytes(stored)
    if len(content) != content_len:
        raise FormatError(f"the content is not {content_len} bytes long, as its block says")
    return content


def _decompress_zstd(stored: Bytes, content_len: int) -> bytes:
    try:
        # The size that the frame declares is what the library allocates and holds it to: check it first.
        declared = zstandard.frame_content_size(stored)
        if declared != content_len:
            raise FormatError("a compressed block and its frame disagree on the length of the content")
        if zstandard.get_frame_parameters(stored).window_size > MAX_ZSTD_WINDOW_BYTES:
            raise LimitExceeded("a compressed block asks for a window of more than 1 MiB")
        return zstandard.ZstdDecompressor().decompress(stored, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise FormatError("a zstd block is damaged") from error


def _decompress_lzma(stored: Bytes, content_len: int) -> bytes:
    try:
        stream = lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=MAX_LZMA_MEMORY_BYTES)
        content = stream.decompress(stored, max_length=content_len + 1)
        if len(content) <= content_len and not stream.eof:
            # The end mark may still wait in the decoder once all content is out.
            content += stream.decompress(b"", max_length=1)
    except lzma.LZMAError as error:
        if "memory" in str(error).lower():
            raise LimitExceeded("an lzma block asks for more than 16 MiB of memory") from error
        raise FormatError("an lzma block is damaged") from error
    except EOFError as error:
        raise FormatError("an lzma block is cut short") from error
    if not stream.eof or stream.unused_data:
        raise FormatError("an lzma block is cut short or has bytes after its end")
    return content
