package web

import (
	"fmt"
	"math"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// rgb is a colour, each part from 0 to 1.
type rgb [3]float64

// The grounds of the stylesheet on which the accent must be legible.
var (
	lightPaper, lightGround = mustHex("#ffffff"), mustHex("#f4f5f7")
	darkPaper, darkGround   = mustHex("#1a1d22"), mustHex("#111317")
)

const (
	textContrast  = 4.5 // WCAG 1.4.3
	darkContrast  = 6   // thin bright letters on a dark page need more
	edgeContrast  = 3   // WCAG 1.4.11: where a button ends
	fillContrast  = 1.2 // a surface is not the paper
	defaultAccent = "#1f5fd0"
)

// palette is a portal's accent in one scheme: as a surface, that surface's edge, the ink on it, and as text on the page.
type palette struct{ accent, edge, ink, text rgb }

// shades derives both schemes from one colour. The portal's colour stays what it is wherever it can be read, and moves
// towards black (on light pages) or white (on dark ones) only as far as it must.
func shades(accent string) (s struct{ light, dark palette }) {
	c, ok := parseHex(accent)
	if !ok {
		c = mustHex(defaultAccent)
	}
	black, white := rgb{}, rgb{1, 1, 1}
	in := func(end rgb, text float64, paper, ground rgb) palette {
		fill := towards(c, end, fillContrast, paper)
		return palette{fill, towards(c, end, edgeContrast, paper), inkOn(fill), towards(c, end, text, paper, ground)}
	}
	s.light, s.dark = in(black, textContrast, lightPaper, lightGround), in(white, darkContrast, darkPaper, darkGround)
	return s
}

// BrandCSS is the portal's own variables, in light and dark, to be served as /brand.css (see BrandPath). The ink on
// the accent, and the accent as a link on the page, have a contrast of at least 4.5 whatever the portal's colour.
func BrandCSS(b Brand) []byte {
	s := shades(b.Accent)
	block := func(p palette) string {
		return fmt.Sprintf("--accent: %s; --accent-edge: %s; --accent-ink: %s; --accent-text: %s", p.accent, p.edge, p.ink, p.text)
	}
	return fmt.Appendf(nil, ":root { %s }\n@media screen and (prefers-color-scheme: dark) {\n  :root { %s }\n}\n", block(s.light), block(s.dark))
}

// BrandPath is the URL under which pages ask for BrandCSS. It changes with the colours, so that the answer may be
// cached for ever.
func BrandPath(b Brand) string { return "/brand.css?v=" + fingerprint(BrandCSS(b)) }

// inkOn is white where white is legible, else our ink, else black: one of them always is, for no colour is less than
// 4.58 from both black and white.
func inkOn(c rgb) rgb {
	for _, ink := range []string{"#ffffff", "#14171c"} {
		if contrast(mustHex(ink), c) >= textContrast {
			return mustHex(ink)
		}
	}
	return rgb{}
}

// towards mixes c with an end, no more than is needed to have at least the wanted contrast with every ground. The end
// is the far one from the grounds, so that more of it never makes less of a contrast that is already there.
func towards(c, end rgb, want float64, grounds ...rgb) rgb {
	const steps = 128
	mix := func(step int) (m rgb) {
		for i := range m {
			m[i] = math.Round((c[i]+(end[i]-c[i])*float64(step)/steps)*255) / 255
		}
		return m
	}
	return mix(sort.Search(steps, func(step int) bool {
		m := mix(step)
		return !slices.ContainsFunc(grounds, func(g rgb) bool { return contrast(m, g) < want })
	}))
}

// contrast is the ratio of WCAG 2.2, from 1 to 21.
func contrast(a, b rgb) float64 {
	la, lb := a.luminance(), b.luminance()
	return (max(la, lb) + 0.05) / (min(la, lb) + 0.05)
}

// luminance is the relative luminance of WCAG 2.2.
func (c rgb) luminance() float64 {
	linear := func(v float64) float64 {
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

// String is #rrggbb.
func (c rgb) String() string {
	part := func(v float64) int { return int(math.Round(v * 255)) }
	return fmt.Sprintf("#%02x%02x%02x", part(c[0]), part(c[1]), part(c[2]))
}

// parseHex reads #rrggbb or #rgb, and nothing else: what comes out of it is safe in a stylesheet.
func parseHex(s string) (c rgb, ok bool) {
	digits, found := strings.CutPrefix(strings.TrimSpace(s), "#")
	if len(digits) == 3 {
		digits = string([]byte{digits[0], digits[0], digits[1], digits[1], digits[2], digits[2]})
	}
	n, err := strconv.ParseUint(digits, 16, 32)
	if !found || len(digits) != 6 || err != nil {
		return rgb{}, false
	}
	return rgb{float64(n>>16) / 255, float64(n>>8&255) / 255, float64(n&255) / 255}, true
}

func mustHex(s string) rgb {
	c, ok := parseHex(s)
	if !ok {
		panic("web: no colour: " + s)
	}
	return c
}
