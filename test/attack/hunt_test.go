package attack

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
)

// hunter looks for secrets in everything that a run puts out, in every way in which somebody could have written them.
type hunter struct {
	mu      sync.Mutex
	places  []output
	needles map[string][]needle // by their first bytes
	known   map[string]*quarry
	// starts tells for the first two bytes whether any needle begins with them.
	starts [1 << 16]bool
}

// output is one thing that came out of the product.
type output struct {
	name string
	// machine is for outputs full of numbers: six digits count there only as a text of their own.
	machine bool
	text    string
}

// quarry is one secret.
type quarry struct {
	what string
	// shown are the outputs in which it belongs.
	shown []func(output string) bool
}

func (q *quarry) mayStandIn(place string) bool {
	return slices.ContainsFunc(q.shown, func(ok func(string) bool) bool { return ok(place) })
}

// needle is one way to write a secret.
type needle struct {
	q       *quarry
	spelled string
	bytes   string
	digits  bool // nothing but digits: it counts only where it is no part of a longer number or word
}

// standsIn and standsUnder say where a secret may be.
func standsIn(places ...string) func(string) bool {
	return func(at string) bool { return slices.Contains(places, at) }
}

func standsUnder(prefix string) func(string) bool {
	return func(at string) bool { return strings.HasPrefix(at, prefix) }
}

const fewest = 6 // bytes of a needle, and how many of them are looked up

func newHunter() *hunter {
	return &hunter{needles: make(map[string][]needle), known: make(map[string]*quarry)}
}

// puts notes an output.
func (h *hunter) puts(name string, machine bool, text string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.places = append(h.places, output{name, machine, text})
}

// hides tells the hunter of a secret. What is told twice may be in all of its places.
func (h *hunter) hides(what, value string, shown ...func(string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if q := h.known[value]; q != nil {
		q.shown = append(q.shown, shown...)
		return
	}
	if len(value) < fewest {
		panic(fmt.Sprintf("%s is too short to be looked for", what))
	}
	q := &quarry{what, shown}
	h.known[value] = q
	for spelled, bytes := range spellings(value) {
		h.needles[bytes[:fewest]] = append(h.needles[bytes[:fewest]], needle{q, spelled, bytes, onlyDigits(bytes)})
		h.starts[int(bytes[0])<<8|int(bytes[1])] = true
	}
}

// hidesGuessable is hides for what has so few possible values that its plain hash is as good as itself.
func (h *hunter) hidesGuessable(what, value string, shown ...func(string) bool) {
	h.hides(what, value, shown...)
	sum := sha256.Sum256([]byte(value))
	h.hides("the plain hash of "+what, string(sum[:]), shown...)
}

// spellings are the ways to write a value, by name; none is shorter than fewest.
func spellings(value string) map[string]string {
	all := map[string]string{"as it is": value}
	add := func(name, s string) {
		for _, known := range all {
			if known == s {
				return
			}
		}
		if len(s) >= fewest {
			all[name] = s
		}
	}
	quoted, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	add("in JSON", strings.Trim(string(quoted), `"`))
	add("in JSON twice", strings.ReplaceAll(strings.Trim(string(quoted), `"`), `\`, `\\`))
	add("in HTML", html.EscapeString(value))
	add("in a URL", url.QueryEscape(value))
	add("in a path", url.PathEscape(value))
	add("in hexadecimal", hex.EncodeToString([]byte(value)))
	add("in HEXADECIMAL", strings.ToUpper(hex.EncodeToString([]byte(value))))
	add("byte by byte", strings.Trim(fmt.Sprint([]byte(value)), "[]"))
	for shift := range 3 { // as part of something longer, its base64 depends on where it stands
		for name, e := range map[string]*base64.Encoding{"base64": base64.RawStdEncoding, "base64url": base64.RawURLEncoding} {
			text := e.EncodeToString(append(make([]byte, shift), value...))
			text = text[(shift*8+5)/6 : (shift+len(value))*8/6]
			if len(text) >= 8 { // shorter ones are found by chance
				add(fmt.Sprintf("in %s, shifted by %d", name, shift), text)
			}
		}
	}
	return all
}

func onlyDigits(s string) bool {
	return strings.IndexFunc(s, func(c rune) bool { return c < '0' || c > '9' }) < 0
}

// find calls f with every place of every needle.
func (h *hunter) find(f func(n needle, at output, where int)) {
	for _, p := range h.places {
		for i := 0; i+fewest <= len(p.text); i++ {
			if !h.starts[int(p.text[i])<<8|int(p.text[i+1])] {
				continue
			}
			for _, n := range h.needles[p.text[i:i+fewest]] {
				if strings.HasPrefix(p.text[i:], n.bytes) && (!n.digits || standsAlone(p, i, i+len(n.bytes))) {
					f(n, p, i)
				}
			}
		}
	}
}

// standsAlone tells whether digits are a word of their own. Numbers of logs and metrics (times, sizes, counts) have six
// digits, too; there they must be in quotes, or a field of a document.
func standsAlone(p output, from, to int) bool {
	var before, after byte
	if from > 0 {
		before = p.text[from-1]
	}
	if to < len(p.text) {
		after = p.text[to]
	}
	if p.machine {
		const ends = "\x00\"'`\\="
		return strings.IndexByte(ends, before) >= 0 && strings.IndexByte(ends, after) >= 0
	}
	word := func(c byte) bool { return c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
	return !word(before) && !word(after) && before != '.' && before != '#'
}

// leaks are the secrets that stand where they do not belong: what, how it is spelled, where.
func (h *hunter) leaks() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	h.find(func(n needle, p output, where int) {
		if !n.q.mayStandIn(p.name) {
			line := fmt.Sprintf("%s, %s, stands in %s", n.q.what, n.spelled, p.name)
			if !slices.Contains(out, line) {
				out = append(out, line)
			}
		}
	})
	return out
}

// seen are the outputs in which a value stands, secret or not.
func (h *hunter) seen(value string) []string {
	eye := newHunter()
	h.mu.Lock()
	eye.places = h.places
	h.mu.Unlock()
	eye.hides("it", value)
	var out []string
	eye.find(func(_ needle, p output, _ int) {
		if !slices.Contains(out, p.name) {
			out = append(out, p.name)
		}
	})
	return out
}

// TestTheHunterSees plants what is no secret, in every spelling, in the middle of noise: a hunt that finds nothing proves
// something only if it finds what is there.
func TestTheHunterSees(t *testing.T) {
	for _, value := range []string{"K7ZQ2M", "a \"quoted\" & <pointed> päss+wörd/%", "\x00\x01\xfe\xffseed bytes \x80", "+17015550000", "704158"} {
		for name, spelled := range spellings(value) {
			for _, noise := range [][2]string{{"", ""}, {strings.Repeat(`{"time":"2026-01-02T03:04:05.123456Z","took":704}`, 50) + `"`, `"` + strings.Repeat("\x00\xffzz", 40)}} {
				h := newHunter()
				h.hides("the value", value, standsIn("the one place"))
				for _, place := range []string{"the one place", "another"} {
					h.puts(place, true, noise[0]+spelled+noise[1])
				}
				if got := h.leaks(); len(got) == 0 || !strings.HasSuffix(got[0], "stands in another") || strings.Contains(strings.Join(got, " "), "the one place") {
					t.Errorf("%q, %s: %q", value, name, got)
				}
			}
		}
	}
	// In base64 with others around it, wherever it begins.
	for shift := range 7 {
		h := newHunter()
		h.hides("the value", "another-secret-text")
		h.puts("log", false, base64.StdEncoding.EncodeToString([]byte(strings.Repeat("x", shift)+"another-secret-text"+"and more")))
		if len(h.leaks()) == 0 {
			t.Errorf("in base64, shifted by %d, it is not seen", shift)
		}
	}
	// Six digits of a number are none of a code.
	h := newHunter()
	h.hides("a code", "704158")
	h.puts("log", false, `took=0.704158 at 2026-01-02T03:04:05.704158Z, 17041580000, #704158, id a704158b`)
	h.puts("metrics", true, "bytes_total 704158\nsum 704158.5\n")
	if got := h.leaks(); len(got) > 0 {
		t.Errorf("a number is taken for a code: %q", got)
	}
	for _, text := range []string{`the code 704158 is wrong`, `"code":"704158"`, "code=704158", "<b>704158</b>"} {
		h.puts("said: "+text, false, text)
		if !slices.Contains(h.leaks(), "a code, as it is, stands in said: "+text) {
			t.Errorf("not seen in %s", text)
		}
	}
}
