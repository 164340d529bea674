// Package digits answers: which six digits did a person type?
package digits

// Length is how many digits every code of this system has.
const Length = 6

// longest bounds the work: six digits, a space or two around each of them.
const longest = 32

// Canonical returns the one spelling of a typed code: spaces anywhere and dashes between digits are dropped, and
// exactly six ASCII digits must be left. Everything else is refused, tabs, line ends, signs and the digits of other
// scripts included: two spellings of a code are the same code everywhere, or one of them is no code.
func Canonical(typed string) (string, bool) {
	if len(typed) > longest {
		return "", false
	}
	code := make([]byte, 0, Length)
	dashed := false
	for _, c := range []byte(typed) {
		switch {
		case c == ' ':
		case c == '-' && len(code) > 0:
			dashed = true
		case c >= '0' && c <= '9' && len(code) < Length:
			code = append(code, c)
			dashed = false
		default:
			return "", false
		}
	}
	if len(code) != Length || dashed {
		return "", false
	}
	return string(code), true
}
