# SPDX-License-Identifier: Apache-2.0
"""A CA folder with the file names of Istio's `cacerts`; leaf certificates and revocation lists signed by it with the openssl command."""
import os

from topology import run


class Authority:
    """root-cert.pem, ca-cert.pem, ca-key.pem, cert-chain.pem in a folder that Culvert's CA can be given."""

    def __init__(self, path):
        self.path = path
        os.makedirs(path, exist_ok=True)
        os.chmod(path, 0o755)
        key, cert = f"{path}/ca-key.pem", f"{path}/ca-cert.pem"
        run("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key,
            "-out", cert, "-days", "2", "-subj", "/O=interop", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
        self.use(open(cert, encoding="ascii").read(), open(key, encoding="ascii").read())

    def use(self, cert, key):
        """Replace root and key."""
        for name, text in (("root-cert.pem", cert), ("ca-cert.pem", cert), ("cert-chain.pem", cert), ("ca-key.pem", key)):
            with open(f"{self.path}/{name}", "w", encoding="ascii") as f:
                f.write(text)
            os.chmod(f"{self.path}/{name}", 0o644)

    def leaf(self, name, identity, usage="serverAuth,clientAuth", days=1):
        """(certificate file, key file) for a SPIFFE ID, or for whatever the caller wants in the URI SAN."""
        key, csr, cert, ext = (f"{self.path}/{name}.{kind}" for kind in ("key", "csr", "pem", "ext"))
        with open(ext, "w", encoding="ascii") as f:
            f.write(f"subjectAltName=critical,URI:{identity}\nextendedKeyUsage={usage}\n"
                    "keyUsage=critical,digitalSignature\nbasicConstraints=critical,CA:FALSE\n")
        run("openssl", "req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", key, "-out", csr,
            "-subj", "/")
        run("openssl", "x509", "-req", "-in", csr, "-CA", f"{self.path}/ca-cert.pem", "-CAkey", f"{self.path}/ca-key.pem",
            "-CAcreateserial", "-out", cert, "-days", str(days), "-extfile", ext)
        return cert, key


def write_crl(path, crl, serials):
    """A list of the CA in folder `path` with these serial numbers, put in place by rename."""
    with open(f"{path}/index.txt", "w", encoding="ascii") as f:
        f.writelines(f"R\t351231235959Z\t260101000000Z\t{serial}\tunknown\t/CN=x\n" for serial in serials)
    with open(f"{path}/crl.conf", "w", encoding="ascii") as f:
        f.write(f"[ca]\ndefault_ca=d\n[d]\ndatabase={path}/index.txt\ndefault_md=sha256\n")
    run("openssl", "ca", "-config", f"{path}/crl.conf", "-gencrl", "-keyfile", f"{path}/ca-key.pem", "-cert",
        f"{path}/ca-cert.pem", "-crldays", "1", "-out", crl + ".new")
    os.chmod(crl + ".new", 0o644)
    os.rename(crl + ".new", crl)


def serial_of(node, account):
    """Serial number of a certificate that a node serves with now."""
    dump = node.admin("ztunnel", "/config_dump")
    one = next(c for c in dump["certificates"] if c["identity"].endswith(f"/{account}"))
    serial = one["certChain"][0]["serialNumber"]
    return serial.upper() if len(serial) % 2 == 0 else "0" + serial.upper()
