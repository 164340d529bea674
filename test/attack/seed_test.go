package attack

import (
	"encoding/base32"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/test/sut"
)

// peek is a request that might show something.
type peek struct{ method, path, token, cookie string }

// seen sends a peek, as an API call with a token or as a page with cookies.
func (h *house) seen(t testing.TB, l peek) sut.Answer {
	t.Helper()
	if strings.HasPrefix(l.path, "/v1/") {
		var body any
		if l.method == http.MethodPost && strings.HasSuffix(l.path, "/enrollment") {
			body = anApp
		}
		return h.call(t, l.method, l.path, l.token, body)
	}
	if l.method == http.MethodPost {
		return h.submit(t, pages{path: l.path, signIn: l.token, session: l.cookie, form: url.Values{}})
	}
	n, door := h.gate()
	req, err := http.NewRequestWithContext(t.Context(), l.method, h.bases[n]+l.path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Cookie", "sallyport_form="+formToken+"; sallyport_sign_in="+l.token+"; sallyport_session="+l.cookie)
	a, err := door.Send(req)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// shows tells whether a text has a key in it, however it is written.
func shows(t testing.TB, text, key string) bool {
	t.Helper()
	raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(key)
	if err != nil {
		t.Fatal(err)
	}
	flat := strings.Map(func(r rune) rune {
		if strings.ContainsRune(" -\t\r\n", r) {
			return -1
		}
		return r
	}, text)
	for _, form := range []string{
		key, strings.ToLower(key), hex.EncodeToString(raw), strings.ToUpper(hex.EncodeToString(raw)), string(raw),
		base64.StdEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(raw),
	} {
		if strings.Contains(flat, form) || strings.Contains(text, form) {
			return true
		}
	}
	return false
}

// TestRule04ASeedIsShownBeforeItsFirstCodeOnly asks for a seed at every route that might show one: between the beginning
// and the first right code its own sign-in sees it, and afterwards nobody does, under any token that there is.
func TestRule04ASeedIsShownBeforeItsFirstCodeOnly(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	people := h.add(t, contract.Internal, 2)
	p, mallory := people[0], people[1]
	mallorys := mallory.enrol(t)
	own, other := p.begin(t), p.begin(t)
	begun := func(s sut.SignIn) string {
		t.Helper()
		return sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, s.Path("/enrollment"), s.Token, anApp)).Key
	}
	key := begun(own)
	if raw, err := base32.StdEncoding.WithPadding(base32.NoPadding).DecodeString(key); err != nil || len(raw) != 20 {
		t.Errorf("the key %q has %d bytes, %v; want 20", key, len(raw), err)
	}
	if again := begun(own); again != key {
		t.Errorf("asked again, the same sign-in sees another seed")
	}
	if page := h.seen(t, peek{"GET", "/sign-in/enroll/totp", own.Token, ""}); !shows(t, string(page.Body), key) {
		t.Errorf("the page of the sign-in does not show the key, so that nothing below means anything: %s", page)
	}
	// What others see meanwhile: a sign-in of the same person gets a seed of its own, which takes the place of the first.
	for _, l := range []peek{
		{"POST", own.Path("/enrollment"), other.Token, ""},
		{"POST", own.Path("/enrollment"), mallorys, ""},
		{"POST", own.Path("/enrollment"), "", ""},
		{"GET", own.Path(""), own.Token, ""},
		{"GET", own.Path(""), mallorys, ""},
		{"GET", "/sign-in/enroll/totp", "", mallorys},
	} {
		if a := h.seen(t, l); shows(t, string(a.Body), key) {
			t.Errorf("%s %s shows the seed of another", l.method, l.path)
		}
	}
	if begun(other) == key {
		t.Error("two sign-ins see the same seed")
	}
	if v := verdict(h.confirmDoor(t, own)(h.appCode(t, key, 0))); v != "conflict" {
		t.Errorf("a seed that was replaced is confirmed: %s", v)
	}
	p.key = begun(own)
	session := sessionOf(t, sut.Want[sut.SignIn](t, http.StatusOK, h.confirmDoor(t, own)(p.code(t))))
	third := p.begin(t)
	replacement := sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, "/v1/account/factors/totp", session, nil))
	if replacement.Key == p.key {
		t.Error("the profile page shows the seed that is in use")
	}
	var looks []peek
	for _, s := range []sut.SignIn{own, other, third} {
		looks = append(looks,
			peek{"GET", s.Path(""), s.Token, ""}, peek{"POST", s.Path("/enrollment"), s.Token, ""}, peek{"POST", s.Path("/enrollment/confirm"), s.Token, ""},
			peek{"GET", "/sign-in/enroll/totp", s.Token, session}, peek{"GET", "/sign-in/enroll", s.Token, session}, peek{"POST", "/sign-in/enroll/start", s.Token, session},
			peek{"POST", "/sign-in/enroll/confirm", s.Token, ""}, peek{"GET", "/sign-in/code", s.Token, ""}, peek{"GET", "/sign-in/help", s.Token, ""},
			peek{"GET", "/sign-in/status", s.Token, ""}, peek{"GET", "/sign-in/done", s.Token, session},
		)
	}
	for _, s := range []string{session, mallorys} {
		looks = append(looks,
			peek{"GET", "/v1/account", s, ""}, peek{"GET", "/v1/session", s, ""}, peek{"POST", "/v1/account/factors/totp", s, ""}, peek{"GET", "/v1/account/sessions", s, ""},
			peek{"GET", "/account", "", s}, peek{"GET", "/account/factors/totp", "", s}, peek{"POST", "/account/factors/totp", "", s}, peek{"POST", "/account/factors/totp/confirm", "", s},
			peek{"GET", "/admin/users/" + p.user, "", s},
		)
	}
	answered := 0
	for _, l := range looks {
		a := h.seen(t, l)
		if shows(t, string(a.Body), p.key) || shows(t, a.Header.Get("Location"), p.key) {
			t.Errorf("%s %s shows the seed that is in use: %s", l.method, l.path, a)
		}
		if a.Status < 300 {
			answered++
		}
	}
	if answered < 10 {
		t.Errorf("only %d of %d routes showed anything at all", answered, len(looks))
	}
}

// TestRule04APendingSeedLivesTenMinutes waits with the first code, in a sign-in and on the profile page.
func TestRule04APendingSeedLivesTenMinutes(t *testing.T) {
	t.Parallel()
	h := openHouse(t, nil)
	for _, c := range []struct {
		wait time.Duration
		want bool
	}{{10*time.Minute - time.Second, true}, {10 * time.Minute, false}, {20 * time.Minute, false}} {
		p := h.add(t, contract.Internal, 1)[0]
		s := p.begin(t)
		p.key = sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, s.Path("/enrollment"), s.Token, anApp)).Key
		h.Clock.Add(c.wait)
		if v := verdict(h.confirmDoor(t, s)(h.appCode(t, p.key, 0))); (v == in) != c.want {
			t.Errorf("a sign-in's seed after %v: %s", c.wait, v)
		}
		q := h.add(t, contract.Internal, 1)[0]
		session := q.enrol(t)
		key := sut.Want[sut.Enrollment](t, http.StatusCreated, h.post(t, "/v1/account/factors/totp", session, nil)).Key
		h.Clock.Add(c.wait)
		if v := verdict(h.replaceDoor(t, session)(h.appCode(t, key, 0))); (v == in) != c.want {
			t.Errorf("a profile page's seed after %v: %s", c.wait, v)
		}
		if c.want {
			continue
		}
		// The old app works on, and what is begun now is another seed.
		q.signIn(t)
		sut.Expect(t, h.stepUpDoor(t, session)(q.code(t)), http.StatusNoContent, "")
		if again := sut.Want[sut.Enrollment](t, http.StatusCreated, h.risen(t, "/v1/account/factors/totp", session)).Key; again == key {
			t.Errorf("a seed is shown again after %v", c.wait)
		}
	}
}
