"""SCRAM-SHA-256: the exchange of RFC 7677 section 3, several keys, and everything a client may get wrong."""

import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rookery.wire.sasl.scram import ScramEngine, ScramKey, ScramSecrets, derive_key
from rookery.wire.sasl.steps import MESSAGE_LIMIT, Challenge, Done, Failed, NeedSecrets, Proved
from tests.wire.sasl.scram_client import ScramClient

SALT = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")
SERVER_NONCE = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
FIRST = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO"
SERVER_FIRST = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
FINAL = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
SERVER_FINAL = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
KEY = derive_key("pencil", SALT, 4096)


def _begun(keys: tuple[ScramKey, ...] = (KEY,), first: bytes = FIRST) -> ScramEngine:
    engine = ScramEngine(SERVER_NONCE)
    assert isinstance(engine.start(first), NeedSecrets)
    engine.secrets(ScramSecrets(SALT, 4096, keys))
    return engine


def test_the_exchange_of_rfc_7677() -> None:
    engine = ScramEngine(SERVER_NONCE)
    assert engine.start(None) == Challenge(b"")
    assert engine.answer(FIRST) == NeedSecrets("", "user")
    assert engine.secrets(ScramSecrets(SALT, 4096, (KEY,))) == Challenge(SERVER_FIRST)
    assert engine.answer(FINAL) == Proved(0, SERVER_FINAL)
    assert engine.answer(b"") == Done("", "user")
    assert isinstance(engine.answer(b""), Failed)


def test_any_of_several_keys_fits() -> None:
    others = tuple(derive_key(f"other {i}", SALT, 4096) for i in range(3))
    assert _begun((*others, KEY)).answer(FINAL) == Proved(3, SERVER_FINAL)


def test_a_wrong_password_and_no_key_at_all_end_alike() -> None:
    wrong = _begun((derive_key("wrong", SALT, 4096),)).answer(FINAL)
    assert wrong == _begun(()).answer(FINAL)
    assert isinstance(wrong, Failed)
    assert not wrong.malformed


@pytest.mark.parametrize("gs2", ["n,,", "y,,", "n,a=alice,"])
def test_gs2_headers_without_binding(gs2: str) -> None:
    client = ScramClient("al,i=ce", "pencil", gs2=gs2)
    engine = ScramEngine(SERVER_NONCE)
    step = engine.start(client.first())
    assert step == NeedSecrets("alice" if "a=" in gs2 else "", "al,i=ce")
    challenge = engine.secrets(ScramSecrets(SALT, 4096, (KEY,)))
    assert engine.answer(client.final(challenge.data)) == Proved(0, client.expected)


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"n,,n=user",
        b"p=tls-unique,,n=user,r=abc",  # channel binding is not offered
        b"p,,n=user,r=abc",
        b"x,,n=user,r=abc",
        b"n,,r=abc,n=user",
        b"n,,m=ext,n=user,r=abc",
        b"n,b=user,n=user,r=abc",
        b"n,a=,n=user,r=abc",
        b"n,,n=,r=abc",
        b"n,,n=us=er,r=abc",  # "=" must be =3D or =2C
        b"n,,n=us\0er,r=abc",
        b"n,,n=\xff,r=abc",
        b"n,,n=user,r=",
        b"n,,n=user,r=a b",
        b"n,,n=user,r=abc,zz",
        b"n,,n=user,r=" + b"a" * 600,
        b"n,,n=" + b"u" * MESSAGE_LIMIT + b",r=abc",
    ],
)
def test_a_bad_first_message(message: bytes) -> None:
    step = ScramEngine(SERVER_NONCE).start(message)
    assert isinstance(step, Failed)
    assert step.malformed


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"c=biws",
        FINAL.replace(b"c=biws", b"c=eSws"),  # says "y,," now, said "n,," before: somebody is in the middle
        FINAL.replace(b"r=rOpr", b"r=rOps"),
        FINAL.replace(b"k0,p=", b"k1,p="),
        FINAL.replace(b",p=", b",q="),
        FINAL.replace(b",p=", b",zz,p="),
        FINAL[:-4],
        FINAL + b"====",
        FINAL.replace(b"dHzb", b"!!!!"),
    ],
)
def test_a_bad_final_message(message: bytes) -> None:
    step = _begun().answer(message)
    assert isinstance(step, Failed)


def test_the_last_answer_must_be_empty() -> None:
    engine = _begun()
    assert isinstance(engine.answer(FINAL), Proved)
    assert isinstance(engine.answer(b"more"), Failed)


def test_a_failed_exchange_cannot_be_continued() -> None:
    engine = _begun()
    assert isinstance(engine.answer(b"nonsense"), Failed)
    assert isinstance(engine.answer(FINAL), Failed)


def test_the_password_is_prepared() -> None:
    assert derive_key("I\u00adX", SALT, 100) == derive_key("IX", SALT, 100)
    assert derive_key("\u0627\u0031", SALT, 100)  # refused by SASLprep: used as it is


@settings(deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=80), st.just(FIRST), st.just(FINAL)), max_size=5))
def test_no_octets_make_it_raise(messages: list[bytes]) -> None:
    engine = ScramEngine(SERVER_NONCE)
    engine.start(None)
    for message in messages:
        step = engine.answer(message)
        if isinstance(step, NeedSecrets):
            engine.secrets(ScramSecrets(SALT, 4096, (KEY,)))


@settings(deadline=None, max_examples=40)
@given(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=20),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=20),
)
def test_every_client_with_the_right_password_gets_in(user: str, password: str) -> None:
    client = ScramClient(user, password)
    engine = ScramEngine(SERVER_NONCE)
    assert engine.start(client.first()) == NeedSecrets("", user)
    challenge = engine.secrets(ScramSecrets(SALT, 50, (derive_key(password, SALT, 50),)))
    assert engine.answer(client.final(challenge.data)) == Proved(0, client.expected)
