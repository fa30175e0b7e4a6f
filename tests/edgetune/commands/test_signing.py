"""`edgetune keygen`, `sign` and `verify`: what they sign, OpenSSF's own command verifies, and the other way round."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import edgetune_runtime
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from edgetune.commands.password import VARIABLE

GOLDEN = Path(__file__).parents[2] / "golden"
LIBRARY = [sys.executable, "-m", "model_signing"]


@pytest.fixture(autouse=True)
def no_password(monkeypatch):
    monkeypatch.delenv(VARIABLE, raising=False)


@pytest.fixture
def bundle(tmp_path):
    ignored = shutil.ignore_patterns("*.sig", "expected.json", "options.json")
    return shutil.copytree(GOLDEN / "encoder-shared", tmp_path / "bundle", ignore=ignored)


@pytest.fixture
def adapter(tmp_path):
    return Path(shutil.copy(GOLDEN / "encoder-shared" / "adapters" / "mood.safetensors", tmp_path))


@pytest.fixture
def key(tmp_path, cli):
    path = tmp_path / "keys" / "release.key"
    assert cli("keygen", path).code == 0
    return path


def public(key):
    return key.with_suffix(".pub")


def library(*arguments):
    """model_signing's own command; what it said."""
    done = subprocess.run([*LIBRARY, *map(str, arguments)], capture_output=True, text=True, encoding="utf-8")
    return done.returncode, done.stdout + done.stderr


class TestBothWays:
    def test_what_we_sign_their_command_verifies(self, cli, bundle, adapter, key):
        for path, signature in ((bundle, bundle / "model.sig"), (adapter, adapter.with_name("mood.safetensors.sig"))):
            found = cli("sign", path, "--key", key)
            assert found.code == 0 and str(signature) in found.err and found.out == ""
            verify = ["verify", "key", path, "--signature", signature, "--public_key", public(key)]
            assert library(*verify)[0] == 0
            data = bytearray(adapter.read_bytes())
            data[-1] ^= 1
            (path if path.is_file() else path / "adapters" / "mood.safetensors").write_bytes(data)
            code, said = library(*verify)
            assert code == 1 and "mismatch" in said.lower()
            assert cli("verify", path, "--key", public(key)).code == 1

    def test_what_their_command_signs_we_verify(self, cli, bundle, adapter, key):
        for path, signature in ((bundle, bundle / "model.sig"), (adapter, adapter.with_name("mood.safetensors.sig"))):
            assert library("sign", "key", path, "--signature", signature, "--private_key", key)[0] == 0
            found = cli("verify", path, "--key", public(key))
            assert found.code == 0 and "as signed with" in found.out
        model = edgetune_runtime.load(bundle, trusted_keys=public(key))
        model.add_adapter(adapter, "more")


class TestKeygen:
    @pytest.mark.parametrize("curve", ["P-256", "P-384", "P-521"])
    def test_makes_a_pair_that_only_its_owner_may_read(self, cli, tmp_path, bundle, curve):
        path = tmp_path / "wide.pem"
        found = cli("keygen", path, "--curve", curve)
        assert found.code == 0 and "keep it secret" in found.err and found.out == ""
        assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o600
        private = load_pem_private_key(path.read_bytes(), None)
        assert private.curve.key_size == int(curve[2:]) and not list(tmp_path.glob(".*"))
        assert cli("sign", bundle, "--key", path).code == 0
        assert cli("verify", bundle, "--key", tmp_path / "wide.pub").code == 0

    def test_never_replaces_a_key_unasked(self, cli, refused, key):
        before = key.read_bytes(), public(key).read_bytes()
        assert "--force" in refused("keygen", key)
        key.rename(key.with_name("elsewhere"))
        assert "release.pub exists" in refused("keygen", key), "its public half alone is enough"
        key.with_name("elsewhere").rename(key)
        assert (key.read_bytes(), public(key).read_bytes()) == before
        assert cli("keygen", key, "--force").code == 0
        assert key.read_bytes() != before[0] and public(key).read_bytes() != before[1]
        assert os.name == "nt" or key.stat().st_mode & 0o777 == 0o600

    def test_names_the_public_half_by_the_private_one(self, cli, refused, tmp_path):
        assert cli("keygen", tmp_path / "release.v2").code == 0
        assert (tmp_path / "release.v2.pub").is_file()
        assert "ends like a public key" in refused("keygen", tmp_path / "release.pub")

    def test_where_nothing_can_be_written_is_named(self, refused, tmp_path):
        (tmp_path / "file").touch()
        assert "cannot be written" in refused("keygen", tmp_path / "file" / "release.key")


class TestPassword:
    def test_protects_the_private_key(self, cli, refused, tmp_path, bundle, monkeypatch):
        path = tmp_path / "secret.key"
        monkeypatch.setenv(VARIABLE, "correct horse")
        assert cli("keygen", path, "--password").code == 0
        assert path.read_bytes().startswith(b"-----BEGIN ENCRYPTED PRIVATE KEY-----")
        assert cli("sign", bundle, "--key", path).code == 0
        assert cli("verify", bundle, "--key", tmp_path / "secret.pub").code == 0
        (bundle / "model.sig").unlink()
        monkeypatch.setenv(VARIABLE, "wrong")
        assert "the password is wrong" in refused("sign", bundle, "--key", path)
        monkeypatch.delenv(VARIABLE)
        found = cli("sign", bundle, "--key", path)
        assert found.code == 2 and VARIABLE in found.err
        assert not (bundle / "model.sig").exists()

    def test_is_asked_for_at_a_terminal(self, cli, tmp_path, bundle, monkeypatch):
        asked = []
        monkeypatch.setattr("sys.stdin", type("Terminal", (), {"isatty": lambda self: True})())
        monkeypatch.setattr("click.prompt", lambda text, **options: asked.append((text, options)) or "typed")
        path = tmp_path / "secret.key"
        assert cli("keygen", path, "--password").code == 0
        assert cli("sign", bundle, "--key", path).code == 0
        assert [x[1]["hide_input"] for x in asked] == [True, True] and asked[0][1]["confirmation_prompt"]
        load_pem_private_key(path.read_bytes(), b"typed")

    def test_is_not_empty(self, cli, tmp_path, monkeypatch):
        monkeypatch.setenv(VARIABLE, "")
        found = cli("keygen", tmp_path / "x.key", "--password")
        assert found.code == 2 and "empty" in found.err and not list(tmp_path.glob("x*"))

    def test_of_other_peoples_formats_is_read(self, cli, tmp_path, bundle, monkeypatch):
        private = ec.generate_private_key(ec.SECP256R1())
        path = tmp_path / "old.key"
        path.write_bytes(
            private.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, BestAvailableEncryption(b"abc"))
        )
        monkeypatch.setenv(VARIABLE, "abc")
        assert cli("sign", bundle, "--key", path).code == 0


class TestSign:
    def test_refuses_what_is_not_whole(self, refused, bundle, key, tmp_path):
        (bundle / "tokenizer.json").write_bytes(b"{}")
        assert "tokenizer.json" in refused("sign", bundle, "--key", key)
        (tmp_path / "empty.safetensors").touch()
        assert "empty.safetensors" in refused("sign", tmp_path / "empty.safetensors", "--key", key)
        assert "no such file" in refused("sign", tmp_path / "nothing", "--key", key)
        assert "holds no bundle.json" in refused("sign", tmp_path / "keys", "--key", key)
        (tmp_path / "adapter").mkdir()
        (tmp_path / "adapter" / "adapter.json").write_text("{}")
        assert "edgetune add-adapter" in refused("sign", tmp_path / "adapter", "--key", key)
        assert not list(tmp_path.rglob("*.sig"))

    @pytest.mark.skipif(os.name == "nt", reason="links need rights there")
    def test_refuses_links(self, refused, bundle, key):
        (bundle / "link").symlink_to("bundle.json")
        assert "symlink" in refused("sign", bundle, "--key", key)

    def test_refuses_keys_that_do_not_sign(self, refused, bundle, key, tmp_path):
        def pem(private):
            path = tmp_path / f"{type(private).__name__}.key"
            path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
            return path

        empty = tmp_path / "empty"
        empty.touch()
        for path, words in (
            (public(key), "is a public key"),
            (tmp_path / "none", "cannot be read"),
            (empty, "no private key"),
            (pem(rsa.generate_private_key(65537, 2048)), "no EC key"),
            (pem(ec.generate_private_key(ec.SECP256K1())), "secp256k1"),
        ):
            assert words in refused("sign", bundle, "--key", path)
        assert not (bundle / "model.sig").exists()

    def test_replaces_a_signature_and_leaves_it_where_signing_fails(self, cli, refused, bundle, key, tmp_path):
        other = tmp_path / "other.key"
        assert cli("keygen", other).code == 0
        for signer in (key, other):
            assert cli("sign", bundle, "--key", signer).code == 0
        assert cli("verify", bundle, "--key", public(other)).code == 0
        before = (bundle / "model.sig").read_bytes()
        refused("sign", bundle, "--key", tmp_path / "none")
        assert (bundle / "model.sig").read_bytes() == before and not list(bundle.glob(".*"))

    def test_a_signature_or_a_key_whose_writing_fails_is_what_it_was(self, cli, refused, bundle, key, monkeypatch):
        assert cli("sign", bundle, "--key", key).code == 0
        paths = [bundle / "model.sig", key, public(key)]
        before = [x.read_bytes() for x in paths]

        def fail(*_):
            raise OSError(28, "No space left on device")

        for name in ("replace", "fsync"):
            with monkeypatch.context() as patched:
                patched.setattr(os, name, fail)
                assert "No space left" in refused("sign", bundle, "--key", key)
                assert "No space left" in refused("keygen", key, "--force")
            assert [x.read_bytes() for x in paths] == before
            assert not [x for x in (*bundle.iterdir(), *key.parent.iterdir()) if "partial" in x.name]

    def test_a_bundles_adapter_may_be_signed_on_its_own_before_and_after(self, cli, bundle, key):
        path = bundle / "adapters" / "mood.safetensors"
        for first, second in ((bundle, path), (path, bundle)):
            for target in (first, second):
                assert cli("sign", target, "--key", key).code == 0
            for target in (first, second):
                assert cli("verify", target, "--key", public(key)).code == 0
            verify = ["verify", "key", bundle, "--signature", bundle / "model.sig", "--public_key", public(key)]
            assert library(*verify)[0] == 0
            path.with_name(f"{path.name}.sig").unlink()

    def test_says_that_an_adapter_without_a_version_is_of_no_use_to_a_store(self, cli, adapter, key, caplog):
        assert cli("sign", adapter, "--key", key).code == 0
        assert "says no version" in caplog.text

    def test_without_the_library_the_extra_is_named(self, refused, bundle, key, monkeypatch):
        monkeypatch.setitem(sys.modules, "model_signing", None)
        assert "pip install 'edgetune[signing]'" in refused("sign", bundle, "--key", key)


class TestVerify:
    def test_says_who_signed_what(self, cli, bundle, key, tmp_path):
        other = tmp_path / "other.key"
        assert cli("keygen", other).code == 0 and cli("sign", bundle, "--key", key).code == 0
        found = cli("verify", bundle, "--key", public(other), "--key", public(key), "--json")
        told = json.loads(found.out)
        assert found.code == 0 and told["key"] == str(public(key)) and "model.onnx" in told["files"]

    def test_refuses_what_differs_and_keys_that_are_none(self, cli, refused, bundle, adapter, key, tmp_path):
        other = tmp_path / "other.key"
        assert cli("keygen", other).code == 0
        assert "model.sig: is missing" in refused("verify", bundle, "--key", public(key))
        cli("sign", bundle, "--key", key)
        assert "is not trusted" in refused("verify", bundle, "--key", public(other))
        assert "is a private key" in refused("verify", bundle, "--key", key)
        (bundle / "more").touch()
        assert "more: was not signed" in refused("verify", bundle, "--key", public(key))
        (bundle / "more").unlink()
        signature = (bundle / "model.sig").rename(tmp_path / "elsewhere.sig")
        assert cli("verify", bundle, "--key", public(key), "--signature", signature).code == 0
        assert "is of a folder" in refused("verify", adapter, "--key", public(key), "--signature", signature)
        assert "cannot be read" in refused("verify", tmp_path / "nothing", "--key", public(key))
        assert cli("verify", bundle).code == 2
