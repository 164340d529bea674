package sms

import (
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

// text makes the message of a code for a number of a region. It fits one part, names the portal (shortened if need be),
// and its last line binds the code to the host, so that phones fill it in there and nowhere else.
//
// The operator's own sentence comes first, however short it leaves the name: in some countries carriers pass registered
// words only. Then the region's language is spoken where that leaves the name a place, and English otherwise.
func (t Templates) text(region, portal, host string, code secret.String) secret.String {
	name := clean(portal)
	for _, said := range []sentences{{t.of(region)}, saidIn[region], everywhere} {
		if message, ok := said.about(name, host, code.Reveal()); ok {
			return secret.New(message)
		}
	}
	return secret.New(compose(everywhere[0], "", host, code.Reveal()))
}

// about is the first sentence that fits with the whole name; with at least the beginning of the name; or with what of
// the name is in the GSM alphabet, where a sentence is in it.
func (s sentences) about(name, host, code string) (string, bool) {
	for _, shortened := range []func(sentence, name, host, code string) (string, bool){whole, beginning, plainBeginning} {
		for _, sentence := range s {
			if sentence == "" {
				continue
			}
			if message, ok := shortened(sentence, name, host, code); ok {
				return message, true
			}
		}
	}
	return "", false
}

// compose puts name and code into a sentence, and the host's line under it. Without a name nothing shows where it
// would have stood.
func compose(sentence, name, host, code string) string {
	if name == "" {
		sentence = nameless(sentence)
	}
	return strings.NewReplacer("{portal}", name, "{code}", code).Replace(sentence) + "\n@" + host + " #" + code
}

// nameless is a sentence without its name, and without the brackets, blanks and signs that went with it.
func nameless(sentence string) string {
	sentence = strings.ReplaceAll(sentence, "【{portal}】", "")
	sentence = strings.Join(strings.Fields(strings.ReplaceAll(sentence, "{portal}", "")), " ")
	return strings.TrimLeft(strings.NewReplacer(" .", ".", " :", ":", " ,", ",").Replace(sentence), ":,. ")
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

func whole(sentence, name, host, code string) (string, bool) {
	message := compose(sentence, name, host, code)
	return message, fits(message)
}

// beginning cuts a name until the message fits; less than a few characters of it say nothing.
func beginning(sentence, name, host, code string) (string, bool) {
	return cut(sentence, []rune(name), shortestName, host, code)
}

// plainBeginning does so after the characters outside the GSM alphabet have gone, and takes what is left of the name.
func plainBeginning(sentence, name, host, code string) (string, bool) {
	if strings.ContainsFunc(sentence, outside) {
		return "", false
	}
	plain := strings.Map(func(r rune) rune {
		if outside(r) {
			return -1
		}
		return r
	}, name)
	return cut(sentence, []rune(clean(plain)), 1, host, code)
}

func cut(sentence string, name []rune, least int, host, code string) (string, bool) {
	for n := len(name); n >= least; n-- {
		message := compose(sentence, strings.TrimRight(string(name[:n]), " -,.&"), host, code)
		if fits(message) {
			return message, true
		}
	}
	return "", false
}

func outside(r rune) bool { return septets(r) == 0 }

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
