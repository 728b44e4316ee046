package image

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
)

// keyFormat is part of every key. Raise it when stages of the same inputs are
// to be built anew because of how they are packed or stored.
const keyFormat = 1

// keyOf names a stage by everything that it reads: parts are values that
// print as JSON. Two stages of one key have the same content, whichever
// engine made them.
func keyOf(parts ...any) string {
	text, err := json.Marshal(append([]any{keyFormat}, parts...))
	if err != nil {
		panic(err) // Keys are made of plain values.
	}
	sum := sha256.Sum256(text)
	return hex.EncodeToString(sum[:])[:32]
}
