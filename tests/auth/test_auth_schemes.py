"""Password hashes: vectors, Dovecot's own output, broken and costly ones."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rookery.base.errors import Cause, RookeryError
from rookery.distribution.auth import schemes
from rookery.distribution.auth.hasher import DUMMY
from rookery.distribution.auth.md5crypt import md5_crypt
from rookery.distribution.auth.shacrypt import Setting, sha_crypt
from tests import hashes

# Inputs of the vectors in Ulrich Drepper's specification; outputs as libxcrypt gives them.
LONG = "a very much longer text to encrypt.  This one even stretches over morethan one line."
VECTORS = [
    ("Hello world!", "$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5"),
    ("Hello world!", "$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA"),
    ("This is just a test", "$5$rounds=5000$toolongsaltstrin$Un/5jzAHMgOGZ5.mWJpuVolil07guHPvOW8mGRcvxa5"),
    (LONG, "$5$rounds=1400$anotherlongsalts$Rx.j8H.h8HjEDGomFU8bDkXm3XIUnzyxf12oP84Bnq1"),
    (
        "Hello world!",
        "$6$saltstring$svn8UoSVapNtMuq1ukKS4tPQd8iKwSMHWjl/O817G3uBnIFNjnQJuesI68u4OTLiBFdcbYEdFCoEOfaS35inz1",
    ),
    (
        "Hello world!",
        "$6$rounds=10000$saltstringsaltst$OW1/O6BYHV6BcXZu8QVeXbDWra3Oeqh0sbHbbMCVNSnCM/UrjmM0Dp8vOuZeHBy/"
        "YTBmSK6H9qs/y3RnOaw5v.",
    ),
    (
        "This is just a test",
        "$6$rounds=5000$toolongsaltstrin$lQ8jolhgVRVhY4b5pZKaysCLi0QBxGoNeKQzQ3glMhwllF7oGDZxUhx1yxdYcz/"
        "e1JSbq3y6JMxxl8audkUEm0",
    ),
]


@pytest.mark.parametrize(("password", "text"), VECTORS)
def test_sha_crypt_vectors(password: str, text: str) -> None:
    assert sha_crypt(password.encode(), Setting(text)) == text


def test_sha_crypt_cuts_the_salt_and_raises_the_rounds() -> None:
    assert sha_crypt(b"x", Setting("$5$rounds=10$roundstoolow")).startswith("$5$rounds=1000$roundstoolow$")
    assert Setting("$6$" + "s" * 40).salt == "s" * 16


def test_md5_crypt_vector() -> None:
    assert md5_crypt(b"Hello world!", "$1$abcdefgh$") == "$1$abcdefgh$fzmjzFdo5nMtBG8gtud5e0"


# What `doveadm pw -s SCHEME -p secret` of Dovecot 2.3 printed, one hash a line.
DOVECOT = Path(__file__).with_name("dovecot_hashes.txt").read_text().splitlines()


@pytest.mark.parametrize("text", DOVECOT, ids=[text[:20] for text in DOVECOT])
def test_hashes_of_dovecot(text: str) -> None:
    parsed = schemes.parse(text)
    assert parsed.check(b"secret")
    for other in (b"", b"Secret", b"secret ", b"secre", b"secret\0"):
        # crypt(3) ends at NUL and HMAC keys are padded with it; no password with NUL comes this far.
        if other != b"secret\0" or parsed.scheme not in ("BLF-CRYPT", "PBKDF2", "SCRAM-SHA-256"):
            assert not parsed.check(other)
    assert not parsed.current
    assert (parsed.plain is not None) == ("PLAIN" in text.upper().replace("PLAIN-MD5", "") or "CLEAR" in text)


SUPPORTED = [
    "SSHA",
    "SSHA256",
    "SSHA512",
    "SHA",
    "SHA1",
    "SHA256",
    "SHA512",
    "SHA256-CRYPT",
    "SHA512-CRYPT",
    "BLF-CRYPT",
    "PBKDF2",
    "MD5-CRYPT",
    "CRYPT",
    "ARGON2ID",
    "ARGON2I",
    "SCRAM-SHA-256",
    "SMD5",
    "LDAP-MD5",
    "PLAIN-MD5",
    "MD5",
    "PLAIN",
    "CLEARTEXT",
    "SSHA256.hex",
    "SHA512.b64",
    "SHA512-CRYPT.b64",
]


@pytest.mark.skipif(shutil.which("doveadm") is None, reason="doveadm is not installed")
@pytest.mark.parametrize("scheme", SUPPORTED)
@pytest.mark.parametrize(
    "password", ["x", "pässwörd 密码", "seventy octets and more, for block sizes of every digest there is: " * 2]
)
def test_hashes_made_by_dovecot_now(scheme: str, password: str) -> None:
    made = subprocess.run(["doveadm", "pw", "-s", scheme, "-p", password], capture_output=True, text=True, check=True)
    parsed = schemes.parse(made.stdout.rstrip("\n"))
    assert parsed.check(password.encode())
    assert not parsed.check(password.encode()[1:] + b"!")


def test_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schemes, "_ARGON", hashes.FULL)
    made = schemes.make("pässwörd".encode())
    assert made.startswith("{ARGON2ID}$argon2id$v=19$m=19456,t=2,p=1$")
    parsed = schemes.parse(made)
    assert parsed.current
    assert schemes.parse(DUMMY).current, "no account must cost what an account costs"
    assert parsed.check("pässwörd".encode())
    fast = schemes.parse(schemes.make_fast(b"app password", b"salt"))
    assert fast.fast
    assert fast.check(b"app password")
    assert not fast.check(b"app passwore")


def test_bcrypt_looks_at_72_octets() -> None:
    parsed = schemes.parse("{BLF-CRYPT}$2y$05$2./.bb/e/gAQPDaA6V62F.rlZxTPtM50NkDisEmzzfZTPmDX8u6TK")
    assert not parsed.check(b"x" * 1000)


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("{SSHA}short", Cause.INVALID),
        ("{SSHA}5en6G6MezRroT3XKqkdPOmY/BfQ=", Cause.INVALID),  # no salt
        ("{SHA}5dFHPVES437byFNldXbyskNEmv1WzWER", Cause.INVALID),  # salt where none belongs
        ("{SHA256}not base64!", Cause.INVALID),
        ("{SHA256.HEX}zz", Cause.INVALID),
        ("{SHA256.ROT13}abc", Cause.INVALID),
        ("{BLF-CRYPT}$2y$05$short", Cause.INVALID),
        ("{SHA512-CRYPT}$6$saltonly", Cause.INVALID),
        ("{PBKDF2}$2$a$b$c", Cause.INVALID),
        ("{PBKDF2}$1$salt$-5$0074a39351c778c152cecd0a919b58c68edeca02", Cause.INVALID),
        ("{ARGON2ID}$argon2id$v=19$m=65536", Cause.INVALID),
        ("{SCRAM-SHA-256}4096,a,b", Cause.INVALID),
        ("{DES-CRYPT}ltq1eL2GVAvZ.", Cause.UNSUPPORTED),
        ("{CRYPT}ltq1eL2GVAvZ.", Cause.UNSUPPORTED),
        ("{ROT13}secret", Cause.UNSUPPORTED),
        ("plain words", Cause.UNSUPPORTED),
        ("{SHA512-CRYPT}$6$rounds=999999999$salt$" + "a" * 86, Cause.TOO_BIG),
        ("{BLF-CRYPT}$2y$31$2./.bb/e/gAQPDaA6V62F.rlZxTPtM50NkDisEmzzfZTPmDX8u6TK", Cause.TOO_BIG),
        ("{PBKDF2}$1$salt$999999999$0074a39351c778c152cecd0a919b58c68edeca02", Cause.TOO_BIG),
        ("{ARGON2ID}$argon2id$v=19$m=99999999,t=3,p=1$VqHEelRNbUJ1AOaSBkHfiw$L8Ygpt4oODXCI0YpPH4", Cause.TOO_BIG),
        ("{PLAIN}" + "x" * 5000, Cause.TOO_BIG),
    ],
)
def test_refused_at_the_door(text: str, cause: Cause) -> None:
    with pytest.raises(RookeryError) as caught:
        schemes.parse(text)
    assert caught.value.cause is cause
    assert "secret" not in caught.value.what


@settings(deadline=None)
@given(st.text(max_size=100), st.sampled_from(["", "{CRYPT}", "{SSHA}", "{PBKDF2}", "{SHA256.HEX}", "$6$", "{MD5}$1$"]))
def test_any_text_is_a_hash_or_refused(text: str, prefix: str) -> None:
    try:
        schemes.parse(prefix + text)
    except RookeryError:
        pass
