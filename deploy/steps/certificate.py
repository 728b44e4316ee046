# Looks at the certificates that the address $1 serves at the port $2 for the domains $3…
# and prints a line for each: what it is, or "missing" with the reason. It exits with 1
# while one is missing. A certificate that was given to the proxy is on standard input,
# with its key; nothing of that is printed.
import re
import socket
import ssl
import sys

address, port, *domains = sys.argv[1:]
address = address.strip("[]")
given = re.search(r"-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----", sys.stdin.read())
wanted = given and ssl.PEM_cert_to_DER_cert("".join(line.strip() + "\n" for line in given.group().splitlines()))


def served(domain, context):
    with socket.create_connection((address, int(port)), timeout=5) as plain, context.wrap_socket(plain, server_hostname=domain) as connection:
        return connection.getpeercert(), connection.getpeercert(binary_form=True)


def look(domain):
    """What is wrong with the certificate of a domain, and else what it is."""
    name = domain.replace("*", "any", 1)
    unchecked = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    unchecked.check_hostname, unchecked.verify_mode = False, ssl.CERT_NONE
    try:
        raw = served(name, unchecked)[1]
    except OSError as error:
        return f"{domain} is not answered for at port {port}: {error}", ""
    if b"TRAEFIK DEFAULT CERT" in raw:
        return f"{domain} has only the proxy's own, which stands in for one", ""
    if wanted and raw != wanted:
        return f"{domain} has another one than the one given", ""
    # Whoever has signed it: whether it is for this domain, and not over.
    trusting = ssl.create_default_context(cadata=raw)
    trusting.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    trusting.verify_flags &= ~ssl.VERIFY_X509_STRICT
    try:
        served(name, trusting)
    except ssl.SSLCertVerificationError as error:
        return f"{domain} has a certificate that visitors can't take: {error.verify_message}", ""
    try:
        until = served(name, ssl.create_default_context())[0]["notAfter"]
    except ssl.SSLCertVerificationError as error:
        # A company's own CA, or one for trying: that is for visitors to trust.
        return "", f"{domain} has a certificate that is not of a public CA: {error.verify_message}"
    return "", f"{domain} has a certificate until {until}"


missing = 0
for domain in domains:
    wrong, what = look(domain)
    missing += bool(wrong)
    print(f"missing {wrong}" if wrong else what)
sys.exit(bool(missing))
