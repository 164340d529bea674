package attack

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"sallyport/pkg/contract"
	"sallyport/test/sut"
)

// same are spellings of one code: people type them, and all mean the same six digits.
func same(c string) []string {
	return []string{
		c, c[:3] + " " + c[3:], c[:3] + "-" + c[3:], " " + c, c + " ", "   " + c + "   ", strings.Join(strings.Split(c, ""), " "),
		strings.Join(strings.Split(c, ""), "-"), c[:2] + " " + c[2:4] + " " + c[4:], c[:3] + " - " + c[3:], c[:3] + "--" + c[3:],
	}
}

// inDigits writes a code in the digits of a script.
func inDigits(c string, zero rune) string {
	return strings.Map(func(r rune) rune { return zero + r - '0' }, c)
}

// other are texts that a careless program takes for the same code, and that are none.
func other(c string) []string {
	return []string{
		"", " ", "-", c[:5], c + "0", "0" + c, c + c,
		c + "\n", c + "\r\n", "\t" + c, c[:3] + "\t" + c[3:], c + "\x00", "\v" + c, "\f" + c, c[:3] + "\n" + c[3:],
		"+" + c, "-" + c, c + "-", c + ".0", c[:1] + "." + c[1:] + "e5", "0x" + c, c[:3] + "_" + c[3:], c[:3] + "," + c[3:], "\"" + c + "\"",
		inDigits(c, '０'), inDigits(c, '٠'), inDigits(c, '۰'), inDigits(c, '०'), inDigits(c, '𝟎'), inDigits(c, '𝟬'), c[:5] + inDigits(c[5:], '０'),
		c + "\u00a0", "\u2009" + c, "\u3000" + c, "\ufeff" + c, c[:3] + "\u200b" + c[3:], c[:3] + "\u200d" + c[3:], c[:3] + "\u00ad" + c[3:],
		c[:3] + "\u2011" + c[3:], c[:3] + "\u2013" + c[3:], "\u202e" + c, c + "\u0301", c + "\ufe0f", "%20" + c, c + ";", c + " or 1=1",
	}
}

// bodies are what is no text with a code at all, and what a lax reader of JSON makes a code of.
func bodies(c string) []string {
	return []string{
		`{"code":` + c + `}`, `{"code":` + c + `.0}`, `{"code":["` + c + `"]}`, `{"code":{"code":"` + c + `"}}`, `{"code":null}`, `{"code":true}`, `{}`,
		`{"code":"000000","code":"` + c + `"}`, `{"code":"` + c + `","code":"000000"}`, `{"Code":"` + c + `"}`, `{"CODE":"` + c + `"}`, `{"c\u006fde":"` + c + `","code":"000000"}`,
		`{"code":"` + c + `"}{"code":"000000"}`, `{"code":"` + c + `",}`, `[{"code":"` + c + `"}]`, `"` + c + `"`, c, ``, `{"code":"` + c + `"} x`,
		`{"code":"` + c + `","extra":1}`, "\ufeff" + `{"code":"` + c + `"}`, `{"code":"` + strings.Repeat(" ", 100) + c + `"}`, `{"code":"\ud800` + c + `"}`,
	}
}

// looked are the results of codes that were taken for a code: those move the count, and no others do.
var looked = []string{"accepted", "wrong", "replayed"}

// TestRule02AUsedCodeInThirtySpellingsIsUsed types a code that was accepted once again, in every way to write it: by
// API, on a page and in a step-up. No spelling of it is another code, and what is counted is what was compared.
func TestRule02AUsedCodeInThirtySpellingsIsUsed(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	p := h.add(t, contract.Internal, 1)[0]
	session := p.enrol(t)
	h.Clock.Add(2 * sut.Step)
	// used is a code that was accepted a moment ago; it starts the count of wrong ones again.
	used := func() string {
		p.signIn(t)
		return h.appCode(t, p.key, 0)
	}
	doors := func() map[string]try {
		s := p.begin(t)
		return map[string]try{"API": h.verifyDoor(t, s), "page": h.verifyPage(t, s), "step-up": h.stepUpDoor(t, session)}
	}
	moved := func(door try, text string) (string, int) {
		t.Helper()
		before, repeated := h.counted(appVerifications, looked...), h.repeated()
		v := verdict(door(text))
		return v, h.counted(appVerifications, looked...) - before - (h.repeated() - repeated)
	}
	spellings := 0
	for i := range same("123456") {
		c := used()
		for at, door := range doors() {
			spellings++
			if v, n := moved(door, same(c)[i]); v != wrongCode || n != 1 {
				t.Errorf("%s: %q of a used code %s: %s, counted %d times; want it refused and counted", at, same(c)[i], c, v, n)
			}
		}
	}
	c := used()
	for at, door := range doors() {
		for _, text := range other(c) {
			spellings++
			if v, n := moved(door, text); !oneOf(v, noCode, wrongCode, "invalid_request") || n != 0 {
				t.Errorf("%s: %q of a used code %s: %s, counted %d times; want it refused and not counted", at, text, c, v, n)
			}
		}
	}
	s := p.begin(t)
	for _, body := range bodies(c) {
		spellings++
		if v, n := moved(h.rawDoor(t, s, body), ""); !oneOf(v, noCode, "invalid_request") || n != 0 {
			t.Errorf("body %s with a used code: %s, counted %d times", body, v, n)
		}
	}
	if v, n := moved(h.rawDoor(t, s, fmt.Sprintf(`{"code":"\u003%c%s"}`, c[0], c[1:])), ""); v != wrongCode || n != 1 {
		t.Errorf("a used code in escapes: %s, counted %d times", v, n)
	}
	t.Logf("%d spellings", spellings)

	// What is no code spends none: the same texts with a fresh code, and then the code itself.
	h.Clock.Add(2 * sut.Step)
	fresh := h.appCode(t, p.key, 0)
	for _, text := range other(fresh) {
		if v := verdict(h.verifyDoor(t, s)(text)); !oneOf(v, noCode, "invalid_request") {
			t.Errorf("%q of a fresh code: %s", text, v)
		}
	}
	for _, body := range bodies(fresh) {
		if v := verdict(h.rawDoor(t, s, body)("")); !oneOf(v, noCode, "invalid_request") {
			t.Errorf("body %s with a fresh code: %s", body, v)
		}
	}
	if v := verdict(h.verifyDoor(t, s)(fresh)); v != in {
		t.Errorf("the fresh code itself: %s", v)
	}
	// And every spelling that people use opens the door, once.
	for i := range same("123456") {
		h.Clock.Add(sut.Step)
		if v := verdict(h.verifyDoor(t, p.begin(t))(same(h.appCode(t, p.key, 0))[i])); v != in {
			t.Errorf("a fresh code spelt as %q: %s", same("123456")[i], v)
		}
	}
}

// rawDoor sends a body as it stands, whatever is typed.
func (h *house) rawDoor(t testing.TB, s sut.SignIn, body string) try {
	return func(string) sut.Answer {
		return h.call(t, http.MethodPost, s.Path("/verify"), s.Token, sut.Raw{Type: "application/json", Body: body})
	}
}

// TestRule02AConfirmingCodeInOtherSpellings does the same with the first code of an app: no spelling of it confirms twice,
// nor signs anybody in afterwards.
func TestRule02AConfirmingCodeInOtherSpellings(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	var p *person
	var s, late sut.SignIn
	code, tries := "", 0
	begin := func() {
		p = h.add(t, contract.Internal, 1)[0]
		s, late = p.begin(t), p.begin(t)
		p.key = sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, s.Path("/enrollment"), s.Token, anApp)).Key
		code, tries = h.appCode(t, p.key, 0), 0
	}
	begin()
	for _, text := range other(code) {
		if v := verdict(h.confirmDoor(t, s)(text)); !oneOf(v, noCode, "invalid_request") {
			t.Errorf("%q confirms: %s", text, v)
		}
	}
	for i := range append(same("123456"), other("123456")...) {
		if tries%4 == 0 { // before the factor is closed, which would refuse anything
			begin()
			if v := verdict(h.confirmDoor(t, s)(same(code)[i%len(same(code))])); v != in {
				t.Fatalf("the code itself, spelt as %q: %s", same("123456")[i%len(same(code))], v)
			}
		}
		text := append(same(code), other(code)...)[i]
		for _, door := range []try{h.confirmDoor(t, s), h.confirmPage(t, s), h.confirmDoor(t, late)} {
			if v := verdict(door(text)); !oneOf(v, "conflict", "303", noCode, "invalid_request") {
				t.Errorf("%q confirms once more: %s", text, v)
			}
		}
		if v := verdict(h.verifyDoor(t, p.begin(t))(text)); !oneOf(v, wrongCode, noCode, "invalid_request") {
			t.Errorf("%q signs in after it has confirmed: %s", text, v)
		}
		tries++
	}
}
