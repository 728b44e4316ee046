// Package attest attaches to an image in the registry what it holds ([SBOM]),
// what its smoke test found ([Attach]) and who signed it ([Signer]).
//
// An attachment is an artifact of OCI 1.1 whose subject is the image: it is
// found by the image's digest, and copied along by tools that know referrers.
// A registry without the referrers API lists the attachments of an image under
// the tag sha256-HEX, as the OCI distribution specification says. A signature
// is where cosign looks for it, under the tag sha256-HEX.sig.
//
// What an image holds is read from its layers ([Read]), not from what it was built
// from: only what is there is listed.
//
// Nothing here asks the clock: the same image has the same attachments.
package attest
