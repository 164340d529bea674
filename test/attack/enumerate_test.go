package attack

import (
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"sallyport/test/sut"
)

// try gives an address and a password to the API.
func knock(c *sut.Client, email, password string) sut.Answer {
	return c.Do("POST", "/v1/sign-ins", "", map[string]string{"email": email, "password": password})
}

// TestRule09GuessingPasswords guesses at one account over many spellings, addresses, forged headers and a restart. Ten
// guesses are looked at; no counter of a factor moves; the owner comes in from where they always did.
func TestRule09GuessingPasswords(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(map[string]string{"TRUSTED_PROXIES": "127.0.0.1"})})
	home := p.From("203.0.113.7")
	key, _ := p.EnrolTOTP(amir) // from this machine itself
	home.BeginSignIn(amir)
	half := home.BeginSignIn(amir)
	spellings := []string{amir, "AGENT@DEMO.TEST", " agent@demo.test ", "ａｇｅｎｔ@demo.test", "agent@ｄｅｍｏ.test", "ⓐgent@demo.test", "Agent@Demo.Test\t"}
	judged := 0
	for i := range 60 {
		if i == 30 {
			p.Restart()
		}
		// What a client writes itself stands first; the proxy adds where it really comes from.
		from := p.From(fmt.Sprintf("203.0.113.7, 10.0.0.1, 198.51.%d.9", i))
		if i%2 == 1 {
			from = p.From(fmt.Sprintf("2001:db8:0:%x::%x", i, i))
		}
		switch a := knock(from, spellings[i%len(spellings)], "guess"); {
		case a.Is(http.StatusUnauthorized, "invalid_credentials"):
			judged++
		case !a.Is(http.StatusTooManyRequests, "rate_limited"):
			t.Errorf("guess %d: %s", i, a)
		}
	}
	if judged != 10 {
		t.Errorf("%d guesses were looked at; the limit is 10 in ten minutes", judged)
	}
	sut.Expect(t, knock(p.From("192.0.2.1"), amir, sut.DemoPassword), http.StatusTooManyRequests, "rate_limited")
	a := p.Do("POST", half.Path("/verify"), half.Token, map[string]string{"code": sut.WrongCode(t, key, p.Now())})
	sut.Expect(t, a, http.StatusUnprocessableEntity, "invalid_code")
	if left := a.Problem().AttemptsLeft; left == nil || *left != 4 {
		t.Errorf("after sixty wrong passwords the first wrong code leaves %v tries; want 4", left)
	}
	s := home.BeginSignIn(amir)
	tokenOf(t, p.Verify(s, p.Code(key)))
}

// people of whom somebody outside must not learn whether they are there, and what they have.
type population struct{ name, email, password string }

// populations makes an account of each kind, with an address of the same length.
func populations(t *testing.T, p *sut.Product, master string) []population {
	t.Helper()
	create := func(email string, federated bool) invitation {
		return sut.Want[invitation](t, http.StatusCreated, p.Do("POST", "/v1/admin/users", master, map[string]any{
			"email": email, "name": "Pat", "audience": "internal", "federated": federated,
		}))
	}
	known := create("known@demo.test", false)
	newGuest(t, p).choose(link(t, p, known.PasswordLink.URL))
	for _, email := range []string{"shut1@demo.test", "shut2@demo.test"} {
		shut := create(email, false)
		newGuest(t, p).choose(link(t, p, shut.PasswordLink.URL))
		if a := p.Do("PATCH", "/v1/admin/users/"+shut.ID, master, map[string]any{"disabled": true}); a.Status != http.StatusOK {
			t.Fatal(a)
		}
	}
	gone := create("gone1@demo.test", false)
	newGuest(t, p).choose(link(t, p, gone.PasswordLink.URL))
	if a := p.Do("DELETE", "/v1/admin/users/"+gone.ID, master, nil); a.Status != http.StatusNoContent {
		t.Fatal(a)
	}
	create("guest@demo.test", false) // invited, and no password chosen
	create("feder@demo.test", true)
	south, sue := openSouth(t, p)
	theirs := sut.Want[invitation](t, http.StatusCreated, south.Do("POST", "/v1/admin/users", sue, map[string]any{"email": "south@demo.test", "name": "Pat", "audience": "internal"}))
	g := newGuest(t, p)
	g.host = southHost
	g.choose(link(t, p, theirs.PasswordLink.URL))
	if a := knock(south, "south@demo.test", thePassword); a.Status != http.StatusCreated {
		t.Fatalf("the other portal's account does not come in there: %s", a)
	}
	return []population{
		{"nobody", "nobod@demo.test", thePassword},
		{"a wrong password", "known@demo.test", "seven brown kettles sang"},
		{"disabled, with the right password", "shut1@demo.test", thePassword},
		{"disabled, with a wrong one", "shut2@demo.test", "seven brown kettles sang"},
		{"deleted", "gone1@demo.test", thePassword},
		{"invited", "guest@demo.test", thePassword},
		{"federated", "feder@demo.test", thePassword},
		{"another portal's", "south@demo.test", thePassword},
	}
}

var changing = regexp.MustCompile(`(name="csrf" value=")[^"]*|("request_id": ?")[^"]*|(Request</dt><dd><code>)[A-Z0-9]*|[a-z0-9]{5}@demo\.test|(/welcome/)[^"]*`)

// face is all of an answer that somebody outside can compare.
func face(a sut.Answer) string {
	var out strings.Builder
	fmt.Fprintln(&out, a.Status)
	var names []string
	for name := range a.Header {
		names = append(names, name)
	}
	slices.Sort(names)
	body := changing.ReplaceAllString(string(a.Body), "$1$2$3$4")
	leave := []string{"X-Request-Id", "Date"}
	if a.Status == http.StatusTooManyRequests { // how long to wait is from when they were tried themselves
		leave, body = append(leave, "Retry-After", "Content-Length"), regexp.MustCompile(`\d+`).ReplaceAllString(body, "0")
	}
	for _, name := range names {
		if !slices.Contains(leave, name) {
			fmt.Fprintln(&out, name, a.Header[name])
		}
	}
	return out.String() + body
}

// TestRule10AnswersTellNobodyApart: whoever it is, and whether anybody, the answers of each door are the same to the byte.
func TestRule10AnswersTellNobodyApart(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(map[string]string{"PASSWORD_LIMIT_ACCOUNT": "3/10m"})})
	_, master := p.EnrolTOTP(ada)
	people := populations(t, p, master)
	same := func(what string, ask func(population) sut.Answer, status int) {
		t.Helper()
		first := ""
		for _, who := range people {
			a := ask(who)
			if a.Status != status {
				t.Errorf("%s, %s: status %d; want %d", what, who.name, a.Status, status)
			}
			if first == "" {
				first = face(a)
			} else if got := face(a); got != first {
				for i, line := range strings.Split(got, "\n") {
					if was := strings.Split(first, "\n"); i >= len(was) || was[i] != line {
						t.Errorf("%s, %s: %q is told to nobody else", what, who.name, line)
						break
					}
				}
			}
		}
	}
	page := func(who population) sut.Answer {
		g := newGuest(t, p)
		g.cookies["sallyport_form"] = strings.Repeat("A", 26)
		return g.post("/sign-in", "email", who.email, "password", who.password, "return", "/account?x=y")
	}
	api := func(who population) sut.Answer { return knock(p.Client, who.email, who.password) }
	same("the API", api, http.StatusUnauthorized)
	same("the page", page, http.StatusUnauthorized)
	// The count is the address's: two doors have moved it. One more is looked at, for everybody the same.
	same("the API, the last time", api, http.StatusUnauthorized)
	for range 2 {
		same("the API, limited", api, http.StatusTooManyRequests)
		same("the page, limited", page, http.StatusTooManyRequests)
	}
	// A link that is not theirs, of somebody who is there and of nobody.
	same("a link", func(who population) sut.Answer {
		id := "nobody"
		if who.name == "a wrong password" {
			id = amirID
		}
		g := newGuest(t, p)
		g.cookies["sallyport_form"] = strings.Repeat("A", 26)
		return g.get("/welcome/" + id + "." + strings.Repeat("A", 26))
	}, http.StatusGone)
	same("a form at a link", func(who population) sut.Answer {
		id := "nobody"
		if who.name == "a wrong password" {
			id = amirID
		}
		g := newGuest(t, p)
		g.cookies["sallyport_form"] = strings.Repeat("A", 26)
		return g.post("/welcome/"+id+"."+strings.Repeat("A", 26), "password", thePassword, "again", thePassword)
	}, http.StatusGone)
	// An organization's admin learns no more of others' people than of nobody.
	p.EnrolSMS(olga, olgaPhone)
	owner := p.SignInSMS(olga, olgaPhone)
	for _, route := range [][2]string{{"GET", ""}, {"POST", "/reset-second-factor"}, {"POST", "/unlock"}} {
		same(route[0]+route[1], func(who population) sut.Answer {
			id := "nobody"
			switch who.name {
			case "a wrong password":
				id = adaID
			case "invited":
				id = gretaID
			}
			var body any
			if route[0] == "POST" {
				body = map[string]string{"reason": "x"}
			}
			return p.Do(route[0], "/v1/admin/users/"+id+route[1], owner, body)
		}, http.StatusNotFound)
		// Of their own they do: the path is the right one.
		if route[0] == "GET" {
			if a := p.Do("GET", "/v1/admin/users/"+claraID, owner, nil); a.Status != http.StatusOK {
				t.Errorf("of their own: %s", a)
			}
		}
	}
}

// TestRule10TimeTellsNobodyApart measures two times a thousand sign-ins, in turn: at an address that has an account (with a
// wrong password, disabled, invited, or federated), and at one that has none. Student would not tell them apart (Welch's t),
// or it is by less than a twentieth of what a refusal takes. That both would be seen, a large difference and a small one, is
// looked at as well.
func TestRule10TimeTellsNobodyApart(t *testing.T) {
	t.Parallel()
	// A hash costs little enough here for everything else to show beside it.
	p := sut.Start(t, sut.Options{Demo: true, Env: map[string]string{
		"ARGON2_MEMORY_KIB": "512", "ARGON2_ITERATIONS": "1", "PASSWORD_LIMIT_ACCOUNT": "off", "PASSWORD_LIMIT_NETWORK": "off",
	}})
	_, master := p.EnrolTOTP(ada)
	people := populations(t, p, master)
	took := func(who population) float64 {
		var a sut.Answer
		var err error
		for range 3 { // a busy machine may have no time, whoever it is
			if a, err = p.Try(t.Context(), "POST", "/v1/sign-ins", "", map[string]string{"email": who.email, "password": who.password}); !a.Is(http.StatusServiceUnavailable, unavailable) {
				break
			}
		}
		if err != nil || a.Status != http.StatusUnauthorized && a.Status != http.StatusUnprocessableEntity {
			t.Errorf("%s (%v)", a, err)
		}
		return float64(a.Took) / float64(time.Millisecond)
	}
	measure := func(a, b population, n int) (x, y []float64) {
		var (
			mu     sync.Mutex
			askers sync.WaitGroup
		)
		const asking = 10
		for range asking {
			askers.Go(func() {
				for i := range n / asking {
					// In turn, and each as often the first: what the machine does meanwhile hits both.
					first, second := a, b
					if i%2 == 1 {
						first, second = b, a
					}
					f, s := took(first), took(second)
					if i%2 == 1 {
						f, s = s, f
					}
					mu.Lock()
					x, y = append(x, f), append(y, s)
					mu.Unlock()
				}
			})
		}
		askers.Wait()
		return x, y
	}
	told := func(d, w float64) bool { return math.Abs(w) >= 4.5 && math.Abs(d) >= 0.05 }
	// What differs is seen: an address that is none costs no hash.
	seen := false
	for try := 0; try < 3 && !seen; try++ {
		d, w := apart(measure(population{email: "nobod-demo.test", password: "x"}, people[0], 100))
		if seen = told(d, w) && w > 0; !seen {
			t.Logf("a request without a hash is not told from one with: %.0f %%, t = %.1f", 100*d, w)
		}
	}
	if !seen {
		t.Error("a request without a hash is not told from one with: nothing below means anything")
	}
	// So is a small difference, through all the noise of what was measured: if each had taken 8 % of the usual longer.
	smallIsSeen := func(x []float64) {
		longer := slices.Sorted(slices.Values(x))
		for i, usual := 0, longer[len(longer)/2]; i < len(longer); i++ {
			longer[i] += 0.08 * usual
		}
		d, w := apart(x, longer)
		t.Logf("the same against itself, a little longer: %+.1f %% (t = %.1f)", 100*d, w)
		if !told(d, w) || w < 0 {
			t.Error("8 % more are not told apart on this machine: nothing here means anything")
		}
	}
	const each = 1000
	for i, pair := range []struct{ a, b population }{{people[0], people[1]}, {people[0], people[2]}, {people[0], people[5]}, {people[0], people[6]}} {
		// Noise can make a difference once; a difference that is there is there each time, in the same direction.
		var found []string
		sign := 0.0
		var all []float64
		for range 3 {
			x, y := measure(pair.a, pair.b, each)
			d, w := apart(x, y)
			all = append(all, x...)
			found = append(found, fmt.Sprintf("%+.1f %% (t = %.1f)", 100*d, w))
			if !told(d, w) || sign*w < 0 {
				sign = 0
				break
			}
			sign = w
		}
		t.Logf("%s against %s: %s", pair.a.name, pair.b.name, strings.Join(found, ", "))
		if i == 0 {
			smallIsSeen(all)
		}
		if sign != 0 {
			t.Errorf("%s and %s are told apart by time: %s", pair.a.name, pair.b.name, strings.Join(found, ", "))
		}
	}
}

// apart says by how much of it the median of y is above that of x, and Welch's t of the two, without the slowest tenth of
// each: that is the machine's.
func apart(x, y []float64) (difference, t float64) {
	mean := func(v []float64) (m, variance float64) {
		for _, f := range v {
			m += f / float64(len(v))
		}
		for _, f := range v {
			variance += (f - m) * (f - m) / float64(len(v)-1)
		}
		return m, variance
	}
	for _, v := range []*[]float64{&x, &y} {
		slices.Sort(*v)
		*v = (*v)[:len(*v)*9/10]
	}
	mx, vx := mean(x)
	my, vy := mean(y)
	median := x[len(x)/2]
	return (y[len(y)/2] - median) / median, (my - mx) / math.Sqrt(vx/float64(len(x))+vy/float64(len(y)))
}

// TestRule11TextsOnlyAfterTheRightPassword: without it no door sends one, and with it only to numbers that may be texted.
func TestRule11TextsOnlyAfterTheRightPassword(t *testing.T) {
	t.Parallel()
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(nil)})
	p.EnrolSMS(clara, claraPhone)
	seen := len(p.Messages(""))
	p.Advance(time.Hour)
	for range 5 {
		sut.Expect(t, knock(p.Client, clara, "guess"), http.StatusUnauthorized, "invalid_credentials")
		newGuest(t, p).post("/sign-in", "email", clara, "password", "guess")
	}
	p.Advance(time.Hour)
	nobody := "si_" + strings.Repeat("A", 26) + "_" + strings.Repeat("B", 26)
	g := newGuest(t, p)
	g.cookies["sallyport_sign_in"], g.cookies["sallyport_session"] = nobody, strings.Replace(nobody, "si_", "se_", 1)
	for _, r := range routeTable(t) {
		if r.Method != http.MethodPost || r.Path == "/v1/sign-ins" || r.Path == "/sign-in" {
			continue
		}
		if path := at(r, strings.Repeat("A", 26)); strings.HasPrefix(path, "/v1/") {
			p.Do("POST", path, nobody, map[string]string{"factor": "sms", "phone": claraPhone})
		} else {
			g.post(path, "phone", claraPhone, "send", "1")
		}
	}
	// With the right one the countries and kinds of numbers decide.
	s := p.BeginSignIn(tomas)
	for _, number := range []string{
		"+4915123456789", "+8801712345678", "+37060112345", "+447012345678" /* personal */, "+448712345678", "+449012345678" /* premium */, "+19005551234", "+881612345678", /* satellite */
		"+18765551234" /* Jamaica shares +1 */, "+1 242 555 1234", "0015551", "911", "+17015559443;ext=1",
	} {
		if a := p.Do("POST", s.Path("/enrollment"), s.Token, map[string]string{"factor": "sms", "phone": number}); a.Status != http.StatusUnprocessableEntity {
			t.Errorf("%s: %s; want 422", number, a)
		}
	}
	p.Advance(time.Minute)
	if now := p.Messages(""); len(now) != seen {
		raw, _ := json.Marshal(now[seen:]) // for the message
		t.Errorf("%d texts were sent: %s", len(now)-seen, raw)
	}
	p.BeginSignIn(clara)
	p.CodeAfter(claraPhone, seen)
	if n := len(p.Messages("")); n != seen+1 {
		t.Errorf("one sign-in sent %d texts", n-seen)
	}
}
