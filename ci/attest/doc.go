// Package attest attaches to an image in the registry what it holds ([SBOM]),
// what its smoke test found ([Attach]), how it was built ([Provenance]) and who signed
// it ([Signer]).
//
// An attachment is an artifact of OCI 1.1 whose subject is the image: it is
// found by the image's digest, and copied along by tools that know referrers.
// A registry without the referrers API lists the attachments of an image under
// the tag sha256-HEX, as the OCI distribution specification says. A signature
// is where each cosign looks for it: attached as a bundle, and, in the format of those
// before 3.0, under the tag sha256-HEX.sig.
//
// What an image holds is read from its layers ([Read]), not from what it was built
// from: only what is there is listed.
//
// Nothing here asks the clock: what carries a time is given it.
package attest
