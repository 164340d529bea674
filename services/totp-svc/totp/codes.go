package totp

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"strings"

	"golang.org/x/crypto/argon2"

	"sallyport/pkg/contract"
)

// A recovery code is 80 random bits, written as sixteen letters and digits in groups of four.
const (
	recoveryCodes  = 10
	recoveryLength = 16
	recoveryGroup  = 4
	// recoveryAlphabet is Crockford's: no I, L and O, which look like digits, and no U.
	recoveryAlphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
)

// newRecoveryCodes makes a set of codes as a person sees them, all different.
func newRecoveryCodes() []string {
	out := make([]string, 0, recoveryCodes)
	seen := make(map[string]bool, recoveryCodes)
	for len(out) < recoveryCodes {
		var raw [recoveryLength]byte
		_, _ = rand.Read(raw[:]) // never fails
		var b strings.Builder
		for i, c := range raw {
			if i > 0 && i%recoveryGroup == 0 {
				b.WriteByte('-')
			}
			b.WriteByte(recoveryAlphabet[int(c)%len(recoveryAlphabet)]) // 256 is a multiple of 32: no letter is likelier
		}
		if code := b.String(); !seen[code] {
			seen[code] = true
			out = append(out, code)
		}
	}
	return out
}

// canonicalRecoveryCode turns what a person typed into sixteen characters of the alphabet. Letter case, spaces
// (U+0020) and dashes do not matter, and I, L and O are read as the digits that they look like.
func canonicalRecoveryCode(typed string) (string, bool) {
	const longest = 128
	if len(typed) > longest {
		return "", false
	}
	out := make([]byte, 0, recoveryLength)
	for i := range len(typed) {
		c := typed[i]
		if 'a' <= c && c <= 'z' {
			c -= 'a' - 'A'
		}
		switch c {
		case ' ', '-':
			continue
		case 'I', 'L':
			c = '1'
		case 'O':
			c = '0'
		}
		if strings.IndexByte(recoveryAlphabet, c) < 0 || len(out) == recoveryLength {
			return "", false
		}
		out = append(out, c)
	}
	return string(out), len(out) == recoveryLength
}

// The cost of a kept recovery code. Its 80 random bits are on no list, so it may be small; but they are fewer than the 112
// from which on NIST SP 800-63B-4 §3.1.2.2 and OWASP ASVS 6.5.2 are content with a plain hash.
const (
	recoveryPasses    = 1
	recoveryMemoryKiB = 1 << 10
)

// recoveryHash is what is kept of a recovery code: argon2id, about a millisecond. It belongs to one set of one person, so
// that equal codes of two people, or a copied row, have nothing in common.
func recoveryHash(who contract.Account, set, code string) string {
	salt := digest(who.Portal, who.User, set)
	return hex.EncodeToString(argon2.IDKey([]byte(code), salt, recoveryPasses, recoveryMemoryKiB, 1, sha256.Size))
}

// counts tells whether the set was made in this generation of the person's population: off and on again, it is dead.
func (d recoverySet) counts(population int64) bool { return d.Population == population }

// holds returns the name under which the set keeps a code, if it has it and counts in this population generation. The
// generation of a set never changes, so that whoever then spends the code of this very set need not look again.
func (d recoverySet) holds(who contract.Account, population int64, code string) (hash string, ok bool) {
	if d.Set == "" || !d.counts(population) {
		return "", false
	}
	hash = recoveryHash(who, d.Set, code)
	return hash, d.Codes[hash] == d.Set
}

// digest is one hash of several parts, each of which ends where its length says.
func digest(parts ...string) []byte {
	h := sha256.New()
	for _, part := range parts {
		var length [8]byte
		binary.BigEndian.PutUint64(length[:], uint64(len(part)))
		_, _ = h.Write(length[:]) // a hash never fails
		_, _ = h.Write([]byte(part))
	}
	return h.Sum(nil)
}
