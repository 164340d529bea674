package gateway

import (
	"crypto/pbkdf2"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"hash"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/bcrypt"
	"golang.org/x/crypto/scrypt"

	"sallyport/pkg/contract"
)

// This file reads password hashes that other systems made, as functions of values alone. What one costs is bounded when
// it is imported: whoever writes the file must not decide how long a sign-in keeps a core.

// The schemes that are read.
const (
	schemeArgon2id = "argon2id"
	schemeBcrypt   = "bcrypt"
	schemeScrypt   = "scrypt"
	schemePBKDF256 = "pbkdf2-sha256"
	schemePBKDF512 = "pbkdf2-sha512"
)

// Bounds of what a hash may cost: each takes less than about a second of a core, and never more than 128 MiB.
const (
	mostMemoryKiB    = 128 << 10
	mostPasses       = 16
	mostMemoryPasses = 512 << 10 // KiB × passes
	mostThreads      = 4
	leastBcrypt      = 4
	mostBcrypt       = 14
	mostScryptWork   = 1 << 20 // N × r × p
	leastRounds      = 1000
	mostRounds       = 2_000_000
)

// importedHash is a hash with the way it was made.
type importedHash struct {
	scheme string
	// memory, passes and threads are those of argon2id; memory is in KiB.
	memory, passes uint32
	threads        uint8
	// cost is that of bcrypt, the logarithm of N of scrypt, or the rounds of PBKDF2; r and p are scrypt's.
	cost, r, p int
	salt, sum  []byte
	text       string // of bcrypt, which is compared as it stands
}

// Reasons why a hash is refused.
const (
	hashForm contract.Reason = "hash_form" // none of the forms that are read
	hashCost contract.Reason = "hash_cost" // dearer, or weaker, than is taken
)

func badHash(why contract.Reason, format string, args ...any) *contract.Error {
	e := contract.Refuse(contract.InvalidRequest, format, args...)
	e.Field, e.Reason = "password", why
	return e
}

// parseHash reads a hash in one of the common forms. The refusal never repeats it.
func parseHash(s string) (importedHash, *contract.Error) {
	form := func() (importedHash, *contract.Error) {
		return importedHash{}, badHash(hashForm, "The password must be a hash: argon2id ($argon2id$v=19$…), bcrypt ($2a$, $2b$, $2y$), scrypt ($scrypt$ln=…) or PBKDF2 ($pbkdf2-sha256$, $pbkdf2-sha512$).")
	}
	const longest = 512
	if len(s) > longest || !strings.HasPrefix(s, "$") {
		return form()
	}
	parts := strings.Split(s[1:], "$")
	var h importedHash
	ok := false
	switch parts[0] {
	case schemeArgon2id:
		h, ok = parseArgon2id(parts)
	case "2a", "2b", "2y":
		h, ok = parseBcrypt(parts, s)
	case schemeScrypt:
		h, ok = parseScrypt(parts)
	case schemePBKDF256, schemePBKDF512:
		h, ok = parsePBKDF(parts)
	}
	if !ok {
		return form()
	}
	return h, h.affordable()
}

func parseArgon2id(parts []string) (h importedHash, ok bool) {
	if len(parts) != 5 || parts[1] != "v=19" {
		return h, false
	}
	n, ok := numbers(parts[2], "m", "t", "p")
	if !ok || n[2] > 255 {
		return h, false
	}
	h = importedHash{scheme: schemeArgon2id, memory: uint32(n[0]), passes: uint32(n[1]), threads: uint8(n[2])} //nolint:gosec // numbers are small, see there
	h.salt, h.sum, ok = saltAndSum(parts[3], parts[4])
	return h, ok
}

func parseBcrypt(parts []string, whole string) (h importedHash, ok bool) {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	if len(parts) != 3 || len(parts[1]) != 2 || len(parts[2]) != 53 || strings.Trim(parts[2], alphabet) != "" {
		return h, false
	}
	cost, ok := number(parts[1])
	return importedHash{scheme: schemeBcrypt, cost: cost, text: whole}, ok
}

func parseScrypt(parts []string) (h importedHash, ok bool) {
	if len(parts) != 4 {
		return h, false
	}
	n, ok := numbers(parts[1], "ln", "r", "p")
	if !ok {
		return h, false
	}
	h = importedHash{scheme: schemeScrypt, cost: n[0], r: n[1], p: n[2]}
	h.salt, h.sum, ok = saltAndSum(parts[2], parts[3])
	return h, ok
}

func parsePBKDF(parts []string) (h importedHash, ok bool) {
	if len(parts) != 4 {
		return h, false
	}
	h.scheme = parts[0]
	if h.cost, ok = number(strings.TrimPrefix(parts[1], "i=")); !ok {
		return h, false
	}
	// Passlib writes a dot where others have a plus.
	h.salt, h.sum, ok = saltAndSum(strings.ReplaceAll(parts[2], ".", "+"), strings.ReplaceAll(parts[3], ".", "+"))
	return h, ok
}

// number reads a decimal number of at most nine digits.
func number(s string) (int, bool) {
	if s == "" || len(s) > 9 || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, err := strconv.Atoi(s)
	return n, err == nil
}

// numbers reads "a=1,b=2" with these names in this order.
func numbers(s string, names ...string) ([]int, bool) {
	parts := strings.Split(s, ",")
	if len(parts) != len(names) {
		return nil, false
	}
	out := make([]int, len(names))
	for i, name := range names {
		text, found := strings.CutPrefix(parts[i], name+"=")
		n, ok := number(text)
		if !found || !ok {
			return nil, false
		}
		out[i] = n
	}
	return out, true
}

// saltAndSum decodes both, with padding or without.
func saltAndSum(salt, sum string) ([]byte, []byte, bool) {
	decode := func(s string, least, most int) ([]byte, bool) {
		out, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(s, "="))
		return out, err == nil && len(out) >= least && len(out) <= most
	}
	a, ok := decode(salt, 8, 64)
	b, ok2 := decode(sum, 16, 64)
	return a, b, ok && ok2
}

// affordable refuses what costs too much at a sign-in, and what costs so little that it is no protection.
func (h importedHash) affordable() *contract.Error {
	says := ""
	switch h.scheme {
	case schemeArgon2id:
		if h.passes < 1 || h.threads < 1 || h.threads > mostThreads || h.passes > mostPasses ||
			h.memory < 8*uint32(h.threads) || h.memory > mostMemoryKiB || uint64(h.memory)*uint64(h.passes) > mostMemoryPasses {
			says = "argon2id with up to 128 MiB, 16 passes, 16 threads, and memory times passes up to 512 MiB"
		}
	case schemeBcrypt:
		if h.cost < leastBcrypt || h.cost > mostBcrypt {
			says = "bcrypt with a cost of 4 to 14"
		}
	case schemeScrypt:
		// Memory is 128 × N × r bytes.
		if h.cost < 10 || h.cost > 20 || h.r < 1 || h.r > 32 || h.p < 1 || h.p > 16 ||
			(128<<h.cost)*h.r > mostMemoryKiB<<10 || (1<<h.cost)*h.r*h.p > mostScryptWork {
			says = "scrypt from ln=10, with up to 128 MiB and N × r × p up to 2^20"
		}
	default:
		if h.cost < leastRounds || h.cost > mostRounds {
			says = "PBKDF2 with 1,000 to 2,000,000 rounds"
		}
	}
	if says != "" {
		return badHash(hashCost, "This password hash is outside of what is taken: %s.", says)
	}
	return nil
}

// recipe names how the hash was made: all but the salt. It is fit for the name of a field.
func (h importedHash) recipe() string {
	switch h.scheme {
	case schemeArgon2id:
		return fmt.Sprintf("%s-%d-%d-%d-%d", h.scheme, h.memory, h.passes, h.threads, len(h.sum))
	case schemeBcrypt:
		return fmt.Sprintf("%s-%d", h.scheme, h.cost)
	case schemeScrypt:
		return fmt.Sprintf("%s-%d-%d-%d-%d", h.scheme, h.cost, h.r, h.p, len(h.sum))
	}
	return fmt.Sprintf("%s-%d-%d", h.scheme, h.cost, len(h.sum))
}

// takes is the memory that a comparison takes, in KiB.
func (h importedHash) takes() int64 {
	switch h.scheme {
	case schemeArgon2id:
		return int64(h.memory)
	case schemeScrypt:
		return int64(h.r) << h.cost >> 3 // 128 × N × r bytes
	}
	return 0
}

// matches compares a password with the hash, which takes what the hash costs.
func (h importedHash) matches(password string) (bool, error) {
	var got []byte
	var err error
	switch h.scheme {
	case schemeArgon2id:
		got = argon2.IDKey([]byte(password), h.salt, h.passes, h.memory, h.threads, uint32(len(h.sum))) //nolint:gosec // at most 64
	case schemeBcrypt:
		return bcrypt.CompareHashAndPassword([]byte(h.text), []byte(password)) == nil, nil
	case schemeScrypt:
		got, err = scrypt.Key([]byte(password), h.salt, 1<<h.cost, h.r, h.p, len(h.sum))
	default:
		sum := func() hash.Hash { return sha256.New() }
		if h.scheme == schemePBKDF512 {
			sum = sha512.New
		}
		got, err = pbkdf2.Key(sum, password, h.salt, h.cost, len(h.sum))
	}
	return err == nil && subtle.ConstantTimeCompare(got, h.sum) == 1, err
}

// dummy is a hash of nobody's password that was made, as far as its cost goes, like this one. Its sum fits no password:
// the bytes are no hash.
func (h importedHash) dummy() string {
	raw := base64.RawStdEncoding.EncodeToString
	salt, sum := raw(make([]byte, 16)), raw(make([]byte, len(h.sum)))
	switch h.scheme {
	case schemeArgon2id:
		return fmt.Sprintf("$%s$v=19$m=%d,t=%d,p=%d$%s$%s", h.scheme, h.memory, h.passes, h.threads, salt, sum)
	case schemeBcrypt:
		return fmt.Sprintf("$2b$%02d$%s", h.cost, strings.Repeat(".", 53))
	case schemeScrypt:
		return fmt.Sprintf("$%s$ln=%d,r=%d,p=%d$%s$%s", h.scheme, h.cost, h.r, h.p, salt, sum)
	}
	return fmt.Sprintf("$%s$%d$%s$%s", h.scheme, h.cost, salt, sum)
}
