package web

import (
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
)

// Whatever colour a portal chooses, people can read what stands in it.
func TestB34AccentIsLegible(t *testing.T) {
	accents := []string{"#000000", "#ffffff", "#ff0000", "#00ff00", "#0000ff", "#ffcc00", "#767676", "#777777", "#0b1f3a", "#f4f5f7", "#1a1d22", defaultAccent}
	r := rand.New(rand.NewPCG(34, 38))
	for range 2000 {
		accents = append(accents, rgb{r.Float64(), r.Float64(), r.Float64()}.String())
	}
	for _, accent := range accents {
		s := shades(accent)
		for _, c := range []struct {
			what  string
			a, b  rgb
			least float64
		}{
			{"ink on accent, light", s.light.ink, s.light.accent, 4.5},
			{"ink on accent, dark", s.dark.ink, s.dark.accent, 4.5},
			{"link on paper, light", s.light.text, lightPaper, 4.5},
			{"link on ground, light", s.light.text, lightGround, 4.5},
			{"link on paper, dark", s.dark.text, darkPaper, 4.5},
			{"link on ground, dark", s.dark.text, darkGround, 4.5},
			{"edge on paper, light", s.light.edge, lightPaper, 3},
			{"edge on paper, dark", s.dark.edge, darkPaper, 3},
		} {
			if got := contrast(c.a, c.b); got < c.least {
				t.Errorf("%s: %s: %s and %s have %.2f, want %.1f", accent, c.what, c.a, c.b, got, c.least)
			}
		}
	}
}

// A colour that can be read stays what it is.
func TestB34AccentIsKept(t *testing.T) {
	for _, accent := range []string{"#1f5fd0", "#ffcc00", "#b3261e", "#17703c"} {
		if s := shades(accent); s.light.accent.String() != accent || s.dark.accent.String() != accent {
			t.Errorf("%s became %s and %s", accent, s.light.accent, s.dark.accent)
		}
	}
}

func TestContrastIsThatOfWCAG(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want float64
	}{{"#000", "#fff", 21}, {"#777777", "#ffffff", 4.48}, {"#767676", "#ffffff", 4.54}, {"#ff0000", "#ffffff", 4.00}} {
		if got := contrast(mustHex(c.a), mustHex(c.b)); got < c.want-0.005 || got > c.want+0.005 {
			t.Errorf("%s on %s is %.3f, want %.2f", c.a, c.b, got, c.want)
		}
	}
}

// Nothing that is not a colour reaches the stylesheet.
func TestBrandCSSHoldsOnlyColours(t *testing.T) {
	plain := string(BrandCSS(Brand{}))
	for _, accent := range []string{"red", "#12", "#12345", "#+12345", "#1f5fd0; } body { display: none", "url(//x)", "#12345g", "1f5fd0"} {
		if got := string(BrandCSS(Brand{Accent: accent})); got != plain {
			t.Errorf("%q gives\n%s", accent, got)
		}
	}
	if got := string(BrandCSS(Brand{Accent: " #FC0 "})); !strings.Contains(got, "--accent: #ffcc00;") {
		t.Errorf("#FC0 gives\n%s", got)
	}
	if BrandPath(Brand{Accent: "#fc0"}) == BrandPath(Brand{}) {
		t.Error("two sets of colours have one address")
	}
}

// The stylesheet's own colours are legible too, and are the grounds that the accent is measured against.
func TestB38StylesheetContrast(t *testing.T) {
	css, err := os.ReadFile("static/app.css")
	if err != nil {
		t.Fatal(err)
	}
	light, dark, found := strings.Cut(string(css), "prefers-color-scheme: dark")
	if !found {
		t.Fatal("no dark scheme")
	}
	variable := regexp.MustCompile(`--([a-z-]+): (#[0-9a-f]{3,6})\b`)
	read := func(text string) map[string]rgb {
		all := map[string]rgb{}
		for _, m := range variable.FindAllStringSubmatch(text, -1) {
			if _, ok := all[m[1]]; !ok {
				all[m[1]] = mustHex(m[2])
			}
		}
		return all
	}
	for _, c := range []struct {
		name          string
		vars          map[string]rgb
		paper, ground rgb
		accent        palette
	}{
		{name: "light", vars: read(light), paper: lightPaper, ground: lightGround, accent: shades("").light},
		{name: "dark", vars: read(dark), paper: darkPaper, ground: darkGround, accent: shades("").dark},
	} {
		if c.vars["paper"] != c.paper || c.vars["ground"] != c.ground {
			t.Errorf("%s: paper and ground differ from brand.go: %s, %s", c.name, c.vars["paper"], c.vars["ground"])
		}
		if got := (palette{c.vars["accent"], c.vars["accent-edge"], c.vars["accent-ink"], c.vars["accent-text"]}); got != c.accent {
			t.Errorf("%s: the default accent is %v, brand.go says %v", c.name, got, c.accent)
		}
		for _, ink := range []string{"ink", "muted", "ok", "warn", "bad"} {
			for _, on := range []string{"paper", "ground", "sunken"} {
				if got := contrast(c.vars[ink], c.vars[on]); got < 4.5 {
					t.Errorf("%s: %s on %s has %.2f", c.name, ink, on, got)
				}
			}
		}
		if got := contrast(c.vars["edge"], c.vars["paper"]); got < 3 {
			t.Errorf("%s: the edge of a field has %.2f", c.name, got)
		}
	}
}
