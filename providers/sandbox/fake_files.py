"""The sandbox's outputs: real files, small ones. Pictures are painted when they are asked for, the rest lies here."""

import base64
import io
import wave
import zlib

from PIL import Image, ImageDraw

CAPTION = "sandbox"
FORMATS = {"png": "PNG", "jpg": "JPEG", "jpeg": "JPEG", "webp": "WEBP"}
CONTENT_TYPES = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "webp": "image/webp",
    "mp4": "video/mp4",
    "mp3": "audio/mpeg",
    "wav": "audio/wav",
}


def content_of(name: str, prompt: str, width: int = 0, height: int = 0) -> bytes:
    """Return what is behind a file's name, whose ending says what it is. The sizes are a picture's."""
    match _ending(name):
        case "mp4":
            return MP4
        case "mp3":
            return MP3
        case "wav":
            return WAV
        case ending:
            return picture_of(f"{prompt} {name}", width, height, FORMATS[ending])


def content_type_of(name: str) -> str:
    return CONTENT_TYPES[_ending(name)]


def sides_of(ratio: str, longest: int = 1024) -> tuple[int, int]:
    """Return width and height of a picture in this ratio, such as "16:9"."""
    width, height = (float(part) for part in ratio.split(":"))
    scale = longest / max(width, height)
    return round(width * scale), round(height * scale)


def _ending(name: str) -> str:
    return name.rpartition(".")[2]


def _silence(seconds: float, *, rate: int = 24_000) -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate)
        sound.writeframes(bytes(2 * round(seconds * rate)))
    return buffer.getvalue()


WAV = _silence(0.5)
PCM = WAV[44:]  # the same without its header


def picture_of(prompt: str, width: int, height: int, file_format: str = "PNG") -> bytes:
    """Paint a picture whose colour comes from the prompt, so that two prompts can be told apart."""
    digest = zlib.crc32(prompt.encode("utf-8", "replace"))
    red, green, blue = (64 + (digest >> shift) % 128 for shift in (0, 8, 16))
    picture = Image.new("RGB", (width, height), (red, green, blue))
    ImageDraw.Draw(picture).text((width // 2, height // 2), CAPTION, fill="white", anchor="mm")
    buffer = io.BytesIO()
    picture.save(buffer, file_format)
    return buffer.getvalue()


# A white square crosses a blue field: one second, 160 × 90, H.264.
MP4 = base64.b64decode(
    "AAAAIGZ0eXBpc29tAAACAGlzb21pc28yYXZjMW1wNDEAAANhbW9vdgAAAGxtdmhkAAAAAAAAAAAAAAAAAAAD6AAAA+gAAQAAAQAAAAAAAAAAAAAA"
    "AAEAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAgAAArB0cmFrAAAAXHRraGQAAAAD"
    "AAAAAAAAAAAAAAABAAAAAAAAA+gAAAAAAAAAAAAAAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAABAAAAAAAAAAAAAAAAAABAAAAAAKAAAABaAAAAAAAk"
    "ZWR0cwAAABxlbHN0AAAAAAAAAAEAAAPoAAAQAAABAAAAAAIobWRpYQAAACBtZGhkAAAAAAAAAAAAAAAAAABAAAAAQABVxAAAAAAALWhkbHIAAAAA"
    "AAAAAHZpZGUAAAAAAAAAAAAAAABWaWRlb0hhbmRsZXIAAAAB021pbmYAAAAUdm1oZAAAAAEAAAAAAAAAAAAAACRkaW5mAAAAHGRyZWYAAAAAAAAA"
    "AQAAAAx1cmwgAAAAAQAAAZNzdGJsAAAAw3N0c2QAAAAAAAAAAQAAALNhdmMxAAAAAAAAAAEAAAAAAAAAAAAAAAAAAAAAAKAAWgBIAAAASAAAAAAA"
    "AAABDExhdmMgbGlieDI2NAAAAAAAAAAAAAAAAAAAAAAAAAAAGP//AAAAOWF2Y0MBZAAM/+EAG2dkAAyscgRCjfkwEQAAAwABAAADABAPFCmEYAEA"
    "B2joQ4OSyLD9+PgAAAAAEHBhc3AAAAABAAAAAQAAABRidHJ0AAAAAAAAGgAAABoAAAAAGHN0dHMAAAAAAAAAAQAAAAgAAAgAAAAAFHN0c3MAAAAA"
    "AAAAAQAAAAEAAAA4Y3R0cwAAAAAAAAAFAAAAAQAAEAAAAAABAABAAAAAAAEAABgAAAAAAgAAAAAAAAADAAAIAAAAABxzdHNjAAAAAAAAAAEAAAAB"
    "AAAACAAAAAEAAAA0c3RzegAAAAAAAAAAAAAACAAAAuQAAAAOAAAADQAAAA0AAAANAAAADQAAAA0AAAANAAAAFHN0Y28AAAAAAAAAAQAAA5EAAAA9"
    "dWR0YQAAADVtZXRhAAAAAAAAACFoZGxyAAAAAAAAAABtZGlyYXBwbAAAAAAAAAAAAAAAAAhpbHN0AAAACGZyZWUAAANIbWRhdAAAAq8GBf//q9xF"
    "6b3m2Ui3lizYINkj7u94MjY0IC0gY29yZSAxNjQgcjMwOTUgYmFlZTQwMCAtIEguMjY0L01QRUctNCBBVkMgY29kZWMgLSBDb3B5bGVmdCAyMDAz"
    "LTIwMjIgLSBodHRwOi8vd3d3LnZpZGVvbGFuLm9yZy94MjY0Lmh0bWwgLSBvcHRpb25zOiBjYWJhYz0xIHJlZj0xNiBkZWJsb2NrPTE6MDowIGFu"
    "YWx5c2U9MHgzOjB4MTMzIG1lPXVtaCBzdWJtZT0xMCBwc3k9MSBwc3lfcmQ9MS4wMDowLjAwIG1peGVkX3JlZj0xIG1lX3JhbmdlPTI0IGNocm9t"
    "YV9tZT0xIHRyZWxsaXM9MiA4eDhkY3Q9MSBjcW09MCBkZWFkem9uZT0yMSwxMSBmYXN0X3Bza2lwPTEgY2hyb21hX3FwX29mZnNldD0tMiB0aHJl"
    "YWRzPTMgbG9va2FoZWFkX3RocmVhZHM9MSBzbGljZWRfdGhyZWFkcz0wIG5yPTAgZGVjaW1hdGU9MSBpbnRlcmxhY2VkPTAgYmx1cmF5X2NvbXBh"
    "dD0wIGNvbnN0cmFpbmVkX2ludHJhPTAgYmZyYW1lcz04IGJfcHlyYW1pZD0yIGJfYWRhcHQ9MiBiX2JpYXM9MCBkaXJlY3Q9MyB3ZWlnaHRiPTEg"
    "b3Blbl9nb3A9MCB3ZWlnaHRwPTIga2V5aW50PTI1MCBrZXlpbnRfbWluPTggc2NlbmVjdXQ9NDAgaW50cmFfcmVmcmVzaD0wIHJjX2xvb2thaGVh"
    "ZD02MCByYz1jcmYgbWJ0cmVlPTEgY3JmPTQwLjAgcWNvbXA9MC42MCBxcG1pbj0wIHFwbWF4PTY5IHFwc3RlcD00IGlwX3JhdGlvPTEuNDAgYXE9"
    "MToxLjAwAIAAAAAtZYiBAAI//iRHwKJXqYLObG5mB1XRy+ezzQ7TSqiuWNWt/pXOnWUBgAAjYc0nAAAACkGaCO2Id/8AEXAAAAAJQZ4QZxBD/w2J"
    "AAAACQGeGCaId/8QkAAAAAkBnhhGiHf/EJEAAAAJAZ4YjUh3/xCRAAAACQGeGK1Id/8QkQAAAAkBnhjNSHf/EJE="
)

# Concert pitch for less than half a second, mono.
MP3 = base64.b64decode(
    "SUQzAwAAAAAACgAAAAAAAAAAAAD/+xDEAAAEdBNVVJCAMKYJrzcaIAIAAa05QAABWTo9UFAIBgkB8HwfB8oCAIBhEHwf1Ag7E4f4g3AEk/bAYDgc"
    "DgAAAAAAKIkqmRRkCOkCSBaj94UB8BMb8CKUL6gaEvwkDSoKABgwAP/7EsQCg8VYHSAd4AAomwPjQa9oTMwJALxABIYA4Hhn7vamYwOWYcQRJgwA"
    "fmBCBgYFIExgXgPFmrSVh5gghmT5xLRhfiimq9Sian4ophhAzHPemfSmaPGbjmJCuJTgm76qMNDjDh0x0//7EMQDg8UEHxgN+yJArYRigb9sSIM+"
    "gzCvG+NQzhw06xtDCeBtNcwCBm6odX5rBsmloc/X9CRBiYiZscG7xpiXDtHBX1wb/A7hiahPnCMhniMZmfmZPBiwsweMU+Af+r6KMKETDxwx//sS"
    "xAMDxQAfGA37IkCrBCKBv2xIo7M9hjCmHJNNvms0uBvzCXBwNJEBBG8mdvhrhM1ng3+v6EfzFA4zk1N6hDE1HHOFbiE4IxyTE6CaOFZTO0czA+Mv"
    "fTFRddEvqA5+z7owsQMMHzGT//sQxAODxQAfGA37IkCnBCKBr2xIwziJMJ8dI0pOtDSFHIMIwHUzVAMKcKB3cmwCzadDn6foSQMuNN0wP7/MTobA"
    "4f9gjhKG0MT8JU4ZiM6SDL0Eyx+MSGF1yjME/3eqMMLMOWMgzNX/+xLEBAPE0B8aDXsiQI+D44GvaE32MIAZ8z4dIzPEGVMHEGYwkQwI2iTnqA0z"
    "NZ4z+n7Gbg4IZcecB0YWYdJqMPNmnyHWYWgJBxV5lz5jjRjYIBBw5XI1MKKMMZMe0NN7MHkaYzrtWjP/+xDECIPEpB8aDXsiYJAD44GvaE2VGcMG"
    "gGsAqBwpujHNOCpWbTpr9TQAcHMwMOC3MLYNw1LXNDUMDeMLkEU4iwyh4xp0xUICBH/qBiowAcwJIwyszeowXhdTMLvlMvQW0wUQXAoiNP/7EsQN"
    "A8SYHxwNeyJghIOjwZ9kTRGsCcLQQ83toz+pq4YAaYp7UGE+FiaTC+po+hamFABsfMZnsmMsYfINBjAZMKKMEZMW2M9/MGcbIzQtwDMrGqMFYHEQ"
    "tDxpvgHU+DqWhTpr9DHQwf/7EMQUA8SkHxoNeyJgjwPjga9oTWZoQcVaYXgYBqpsvGpgGEYXoHpxFRlDxizphogMCP/ULDBAswMYMINzG4AwXhuT"
    "ML3tMvQbEwTQchh0mSAXp1tBFTQZ5VbwcIM2FOIoML8LE1Yl//sSxBkDxIgfGg37ImiPA+OBr2hN7TVBC1ML4Dg46kyZ8xB4wscGhYYrkQCGAhMw"
    "KwyG8wRxhDJ0xYMmMXwwOAYywwUGA7I4kQ51vrJr9azRIeZwEcdGYYAUBq5q6GqcFMYYIGpxFBkk//sQxB8DxIQfHA17ImCOg+OBr2hNBhz5gIwU"
    "CQ3UqgAFApIALzG8DA+GJMj/HkyLBgzAvBkHWyI8I1OMwSib20Z/WpIWGAJ2cY8YYYSJq/J8mq6EuYYQGBxU5kT5hDwBkhcPDFcV//T/+xLEJIPE"
    "dB8cDXsiYJYD44GvaEhVMDCgANmAnBh0KYII5BkpcrGSCOAYFwPIgkFnAkY7Dw61oU6snyPDwM4OSZMMQIA1i0eDVmCGMMMC04iQyB4wZ8CSBAGh"
    "upUqMACwKNAA7MLhjA3/+xDEKYPEfB8aDfsiaI0D44GvaE2HLMg/nMx/hxTAjB6Bs4c+HineQJXNRnjP6UKh4wBp51jBhyhBmy8kCbG4RJhxAYHT"
    "WmVTmEUAWyIRcMVxX9cwEKAg2BTowSJMCsc4xyOijG7HGP/7EsQvA8SgHxoN+yJgk4PjQa9oTMBYH0AUBkAmUdwota1KdNfqL8kxsHTDrkzDmBsN"
    "mk9w2PgdDDlArOkqMomMGpBFgRConUFm/WoHAKPIYBYGpgigjmEKISYHLlZiqBemC+BGYE4BoP/7EMQ0A8SgHxoN+yJglYPjQa9oTBANAoAoGAKS"
    "yfik4AABaxoNBoNhaAAAAABkTlOGJhXCj4qvfpXQDeGmzbwGwfzIi3FxhqgcBepeaEwOYRAvLpfLZcJwn3MS6isu8uHy50rVJEA7//sSxDgABRQh"
    "JBXgACEODyx3HwACAHQmTOaKEoonTISoeo6o7CyyMUAwUk84cSw5KorAyEpMQU1FMy4xMDCqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"
    "qqqqqqqqqqqqqqqq//sQxCuDxEw/ABzzAAgAADSAAAAEqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"
    "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqo="
)
