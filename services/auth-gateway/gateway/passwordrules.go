package gateway

import (
	_ "embed"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"sallyport/pkg/secret"
)

// Rules of a new password after NIST SP 800-63B §5.1.1.2: long enough, not one that is tried first, and not made of what
// everybody knows of the person or the portal. Nothing about kinds of characters.
const (
	passwordLeast = 12
	passwordMost  = 256
	// ownLeast is how much of a password must be left without the words that everybody knows.
	ownLeast = 8
)

// Why a password is refused, in the words of the page.
const (
	passwordShort  = "Please choose at least 12 characters."
	passwordLong   = "Please choose at most 256 characters."
	passwordCommon = "That password is among those that are tried first. Please choose another."
	passwordKnown  = "That is mostly your name, your email or the portal's name. Please choose another."
)

// weakness says why a password will not do; "" if it will.
func weakness(password secret.String, u user, p portal) string {
	typed := password.Reveal()
	n := utf8.RuneCountInString(typed)
	switch {
	case n < passwordLeast:
		return passwordShort
	case n > passwordMost || len(typed) > 4*passwordMost:
		return passwordLong
	}
	plain := letters(typed)
	if common(plain) {
		return passwordCommon
	}
	for _, word := range knownWords(u, p) {
		plain = strings.ReplaceAll(plain, word, "")
	}
	if utf8.RuneCountInString(plain) < ownLeast {
		return passwordKnown
	}
	return ""
}

// letters is a text in lower case without what is put between words.
func letters(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsSpace(r) || r == '-' || r == '_' || r == '.' {
			return -1
		}
		return unicode.ToLower(r)
	}, norm.NFKC.String(s))
}

// knownWords are the words of a person's address and name and of the portal's.
func knownWords(u user, p portal) []string {
	var out []string
	for _, text := range []string{u.Email, u.Name, u.Organization, p.Name, hostOf(p.PublicURL), "sallyport"} {
		for _, w := range strings.FieldsFunc(text, func(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsDigit(r) }) {
			if w = letters(w); utf8.RuneCountInString(w) >= 4 {
				out = append(out, w)
			}
		}
	}
	return out
}

//go:embed commonpasswords.txt
var commonPasswords string

// mostUsed are the most used passwords that are long enough to be chosen here, as letters writes them; the longest
// first, because some are part of others.
var mostUsed = func() []string {
	var out []string
	for line := range strings.Lines(commonPasswords) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			out = append(out, letters(line))
		}
	}
	slices.SortStableFunc(out, func(a, b string) int { return len(b) - len(a) })
	return out
}()

// triedFirst are beginnings of the passwords that lists of leaked ones have most; with digits and signs around them
// they are no better.
var triedFirst = []string{
	"password", "passw0rd", "passwort", "p@ssword", "p@ssw0rd", "passphrase", "changeme", "letmein", "welcome", "opensesame", "iloveyou", "sunshine", "princess", "football", "baseball",
	"qwertyuiop", "qwertzuiop", "azertyuiop", "asdfghjkl", "1q2w3e4r5t6y", "1qaz2wsx3edc", "zaq12wsxcde3", "q1w2e3r4t5y6", "administrator", "admin", "correcthorsebatterystaple",
	"abcdefghijklmnopqrstuvwxyz", "01234567890123456789", "123456789123456789", "98765432109876543210", "monkey", "dragon", "superman", "batman", "trustno1", "starwars", "whatever", "secret", "master", "login",
}

// common tells whether a password is one that is tried first: a known one with little around it, a row of neighbours
// such as 123456789012, or a short pattern over and over.
func common(plain string) bool {
	rest := plain
	for _, w := range slices.Concat(mostUsed, triedFirst) {
		if len(plain) <= len(w) && strings.HasPrefix(w, plain) {
			return true
		}
		rest = strings.ReplaceAll(rest, w, "")
	}
	own := strings.TrimFunc(rest, func(r rune) bool { return !unicode.IsLetter(r) })
	if rest != plain && utf8.RuneCountInString(own) < 5 {
		return true
	}
	steps, last := 0, rune(-1)
	for _, r := range plain {
		if last >= 0 && (r-last)*(r-last) <= 1 {
			steps++
		}
		last = r
	}
	if 3*steps >= 2*(utf8.RuneCountInString(plain)-1) {
		return true
	}
	for size := 1; size <= 4; size++ {
		if len(plain) > size && strings.Repeat(plain[:size], len(plain)/size+1)[:len(plain)] == plain {
			return true
		}
	}
	return false
}
