package gateway

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"strings"

	"sallyport/pkg/secret"
)

// tokenKind is the prefix that keeps the tokens of sign-ins and sessions apart: neither works as the other.
type tokenKind string

const (
	signInToken  tokenKind = "si"
	sessionToken tokenKind = "se"
	journeyToken tokenKind = "pr" // of a way to a provider
	apiKeyToken  tokenKind = "sp" // of a portal's server: the prefix that secret scanners look for
	ticketToken  tokenKind = "dt" // of a browser's way through the portal door
)

// newToken returns an id (no secret), the token that names it and proves possession, and the hash under which it is
// kept. The secret part has 130 random bits.
func newToken(kind tokenKind) (id string, token secret.String, hash []byte) {
	id = rand.Text()
	word := rand.Text()
	return id, secret.New(string(kind) + "_" + id + "_" + word), hashToken(word)
}

func hashToken(word string) []byte {
	sum := sha256.Sum256([]byte(word))
	return sum[:]
}

// parseToken takes a token of one kind apart; ok is false for anything else.
func parseToken(kind tokenKind, token string) (id, word string, ok bool) {
	rest, ok := strings.CutPrefix(token, string(kind)+"_")
	if !ok {
		return "", "", false
	}
	id, word, ok = strings.Cut(rest, "_")
	return id, word, ok && isID(id) && isID(word)
}

// isID tells whether s has the form of an id of ours: fit for a bucket's key.
func isID(s string) bool {
	if len(s) != 26 {
		return false
	}
	for _, c := range s {
		if (c < 'A' || c > 'Z') && (c < '2' || c > '7') {
			return false
		}
	}
	return true
}

func sameToken(hash []byte, word string) bool {
	return subtle.ConstantTimeCompare(hash, hashToken(word)) == 1
}
