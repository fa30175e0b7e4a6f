"""A signature is one of a trusted key, in the one form that there is; over what model_signing itself writes."""

import base64
import json
import random
import shutil

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from edgetune_runtime import OptionError, SignatureError
from edgetune_runtime.signature import statement_of
from edgetune_runtime.trusted_keys import trusted_keys_from
from references import signing
from references.signing import Key, altered

from .conftest import GOLDEN

FILES = {"a.bin": b"a", "b/c.bin": b"c"}


@pytest.fixture(scope="module")
def key(tmp_path_factory):
    return Key(tmp_path_factory.mktemp("keys"))


def read(made, *keys):
    data = made if isinstance(made, bytes) else json.dumps(made).encode()
    return statement_of(data, trusted_keys_from([x.pem for x in keys]), "here.sig")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda x: x.name)
def test_what_the_library_signs_is_read(tmp_path, curve):
    key, other = Key(tmp_path, "one", curve), Key(tmp_path, "other", curve)
    folder = shutil.copytree(GOLDEN / "encoder-shared", tmp_path / "bundle")
    found = read(key.sign(folder, ignored=("expected.json",)).read_bytes(), other, key)
    assert found.name == "bundle" and found.key.hint == key.hint
    listed = json.loads((folder / "bundle.json").read_bytes())["files"]
    assert {x: y for x, y in found.files.items() if x != "bundle.json"} == {x: y["sha256"] for x, y in listed.items()}
    assert {"model.sig", "expected.json", ".git"} <= set(found.ignored)


def test_another_key_is_named_and_refused(key, tmp_path):
    other = Key(tmp_path)
    made = other.sign_statement(signing.statement_of(FILES))
    with pytest.raises(SignatureError, match=rf"here\.sig: was made with the key {other.hint[:16]}.*{key.hint[:16]}"):
        read(made, key)
    made["verificationMaterial"]["publicKey"]["hint"] = key.hint
    with pytest.raises(SignatureError, match="did not make it"):
        read(made, key)


def test_the_two_ways_to_write_a_statement_are_one(key, tmp_path):
    for name, data in FILES.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    by_library = read(key.sign(tmp_path / "folder").read_bytes(), key)
    by_hand = read(key.sign_statement(signing.statement_of(FILES)), key)
    assert by_library.files == by_hand.files and by_hand.ignored == ()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (["mediaType"], "application/vnd.dev.sigstore.bundle.v0.2+json"),
        (["mediaType"], None),
        (["more"], 1),
        (["verificationMaterial", "tlogEntries"], [{}]),
        (["verificationMaterial", "tlogEntries"], None),
        (["verificationMaterial", "publicKey"], None),
        (["verificationMaterial", "publicKey", "hint"], 7),
        (["verificationMaterial", "publicKey", "rawBytes"], "AAAA"),
        (["verificationMaterial", "certificate"], {"rawBytes": "AAAA"}),
        (["dsseEnvelope", "payloadType"], "application/json"),
        (["dsseEnvelope", "payload"], ["a"]),
        (["dsseEnvelope", "signatures"], []),
        (["dsseEnvelope", "signatures", 0, "keyid"], "mine"),
        (["dsseEnvelope", "signatures", 0, "keyid"], None),
        (["dsseEnvelope", "signatures", 0, "sig"], "not base64"),
    ],
)
def test_what_is_not_signed_has_one_value(key, path, value):
    made = key.sign_statement(signing.statement_of(FILES))
    read(made, key)
    with pytest.raises(SignatureError, match=r"here\.sig: is no signature that a key made"):
        read(altered(made, path, value), key)


@pytest.mark.parametrize(
    "data", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"dsseEnvelope":' * 100_000, b" " * (5 << 20), b"7"]
)
def test_what_is_no_signature_is_refused(key, data):
    with pytest.raises(SignatureError, match=r"here\.sig"):
        read(data, key)


def test_a_key_that_is_there_twice_is_refused(key):
    text = json.dumps(key.sign_statement(signing.statement_of(FILES)))
    for again in (
        '{"mediaType": "application/json", ',
        '{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",',
    ):
        with pytest.raises(SignatureError):
            read(text.replace("{", again, 1).encode(), key)
    with pytest.raises(SignatureError):
        read(text.replace("mediaType", "\\u006dediaType").encode(), key)


def test_every_other_byte_of_a_signature_counts(key, tmp_path):
    path = tmp_path / "adapter.safetensors"
    path.write_bytes(b"tensors")
    data = key.sign(path).read_bytes()
    assert read(data, key).files.keys() == {"."}
    draw = random.Random(0)
    for at in range(len(data)):
        value = draw.choice([x for x in range(256) if x != data[at]])
        with pytest.raises(SignatureError):
            read(data[:at] + bytes([value]) + data[at + 1 :], key)


def test_the_bits_of_base64_that_stand_for_nothing_are_zero(key):
    made = key.sign_statement(b"four")
    assert made["dsseEnvelope"]["payload"] == "Zm91cg==" and base64.b64decode("Zm91ch==") == b"four"
    with pytest.raises(SignatureError, match="what is signed is not JSON"):
        read(made, key)
    with pytest.raises(SignatureError, match="is no signature that a key made"):
        read(altered(made, ["dsseEnvelope", "payload"], "Zm91ch=="), key)


def resources(*names, algorithm="sha256", digest=None):
    made = signing.statement_of(FILES)["predicate"]
    rows = [{"name": x, "algorithm": algorithm, "digest": digest or "00" * 32} for x in names]
    return {**made, "resources": rows}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"_type": "https://in-toto.io/Statement/v0.1"}, "_type"),
        ({"predicateType": "https://model_signing/Digests/v0.1"}, "predicateType"),
        ({"subject": []}, "subject"),
        ({"subject": [{"name": "any", "digest": {"sha256": "00" * 32}}]}, "sha256|digest"),
        ({"subject": [{"name": "any", "digest": {}}]}, "sha256"),
        ({"predicate": {"resources": []}}, "serialization"),
        ({"predicate": resources("a", algorithm="blake2b")}, "algorithm"),
        ({"predicate": resources("a", digest="AB" * 32)}, "digest"),
        ({"predicate": resources("a", digest="ab")}, "digest"),
        ({"predicate": resources("a", "a")}, "name"),
        ({"predicate": {**resources(), "serialization": {"method": "shards", "hash_type": "sha256"}}}, "method"),
        ({"predicate": {**resources(), "serialization": {"method": "files", "hash_type": "blake3"}}}, "hash_type"),
        ({"predicate": {**resources(), "resources": {}}}, "resources"),
        ({"predicate": 7}, "predicate"),
    ],
)
def test_a_statement_of_another_kind_is_refused_by_what_it_says(key, changes, words):
    with pytest.raises(SignatureError, match=rf"here\.sig.*({words})"):
        read(key.sign_statement(signing.statement_of(FILES, **changes)), key)


@pytest.mark.parametrize("payload", [b"not JSON", b"[]", b"[" * 100_000, b"\xff"])
def test_what_is_signed_is_a_statement(key, payload):
    with pytest.raises(SignatureError, match="what is signed"):
        read(key.sign_statement(payload), key)


def test_a_signature_over_another_type_of_payload_does_not_count(key):
    made = key.sign_statement(signing.statement_of(FILES), "text/plain")
    made["dsseEnvelope"]["payloadType"] = signing.TYPE
    with pytest.raises(SignatureError, match="did not make it"):
        read(made, key)


class TestTrustedKeys:
    def test_may_be_text_bytes_and_paths_and_several_in_one_file(self, tmp_path):
        keys = [Key(tmp_path, str(i)) for i in range(5)]
        both = tmp_path / "both.pub"
        both.write_bytes(b"our keys\r\n" + keys[3].pem.replace(b"\n", b"\r\n") + keys[4].pem)
        given = [keys[0].pem, keys[1].pem.decode(), keys[2].public, str(both)]
        assert [x.hint for x in trusted_keys_from(given)] == [x.hint for x in keys]
        assert trusted_keys_from(keys[0].public) == trusted_keys_from([str(keys[0].public)])

    def test_that_are_none_are_refused_by_name(self, key, tmp_path):
        def pem(private):
            return private.public_key().public_bytes(serialization.Encoding.PEM, signing.SUBJECT)

        cut = key.pem.replace(key.pem[40:60], b"")
        certificate = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
        (tmp_path / "empty.pub").touch()
        for given, words in (
            ([], "is empty"),
            ([b""], r"trusted_keys\[0\]: holds no key"),
            ([key.pem, key.path], f"{key.path}: is a private key"),
            ([key.path.read_text()], r"trusted_keys\[0\]: is a private key"),
            ([tmp_path / "none.pub"], r"none\.pub: the key cannot be read"),
            ([tmp_path / "empty.pub"], r"empty\.pub: holds no key"),
            ([str(tmp_path)], "cannot be read"),
            ([7], r"trusted_keys\[0\]: is a int"),
            ([cut], "is no whole public key"),
            ([certificate], "is a certificate"),
            ([pem(rsa.generate_private_key(65537, 2048))], "another kind"),
            ([pem(ec.generate_private_key(ec.SECP256K1()))], r"another kind \(secp256k1\)"),
        ):
            with pytest.raises(OptionError, match=words):
                trusted_keys_from(given)
