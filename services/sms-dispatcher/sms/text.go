package sms

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf16"

	"sallyport/pkg/secret"
)

// What one part of a text message holds: septets of the GSM 7-bit alphabet, or UTF-16 units if a single character is
// not in that alphabet.
const (
	gsmPart  = 160
	ucs2Part = 70
	// shortestName is how much of a name must be left for the expensive alphabet to be worth it.
	shortestName = 6
)

// text makes the message of a code. It fits one part, names the portal (shortened if need be), and its last line
// binds the code to the host, so that phones fill it in there and nowhere else.
func text(portal, host string, code secret.String) secret.String {
	name := clean(portal)
	if !fits(compose(name, host, code.Reveal())) {
		name = shorten(name, host, code.Reveal())
	}
	return secret.New(compose(name, host, code.Reveal()))
}

func compose(name, host, code string) string {
	if name != "" {
		name += " "
	}
	return fmt.Sprintf("%s is your %scode.\n@%s #%s", code, name, host, code)
}

// clean leaves one line of printable characters, so that no name can bring a last line of its own.
func clean(name string) string {
	name = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case unicode.IsPrint(r):
			return r
		default:
			return -1
		}
	}, name[:min(len(name), 4*gsmPart)])
	return strings.Join(strings.Fields(name), " ")
}

// shorten cuts a name until the message fits. Where too little of it would be left, its characters outside the GSM
// alphabet go first.
func shorten(name, host, code string) string {
	runes := []rune(name)
	for n := len(runes); n >= shortestName; n-- {
		if cut := strings.TrimRight(string(runes[:n]), " -,.&"); fits(compose(cut, host, code)) {
			return cut
		}
	}
	plain := []rune(clean(strings.Map(func(r rune) rune {
		if septets(r) == 0 {
			return -1
		}
		return r
	}, name)))
	for n := len(plain); n > 0; n-- {
		if cut := strings.TrimRight(string(plain[:n]), " -,.&"); fits(compose(cut, host, code)) {
			return cut
		}
	}
	return ""
}

// fits tells whether a message is one part.
func fits(message string) bool {
	total := 0
	for _, r := range message {
		n := septets(r)
		if n == 0 {
			return len(utf16.Encode([]rune(message))) <= ucs2Part
		}
		total += n
	}
	return total <= gsmPart
}

// The alphabet of GSM 03.38 and its extension, whose characters take two septets.
const (
	gsmBasic = "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
	gsmMore  = "\f^{}\\[~]|€"
)

// septets is what a character takes in the GSM alphabet; 0 if it is not in it.
func septets(r rune) int {
	switch {
	case strings.ContainsRune(gsmBasic, r):
		return 1
	case strings.ContainsRune(gsmMore, r):
		return 2
	default:
		return 0
	}
}
