package attack

import (
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"sallyport/pkg/contract"
	"sallyport/test/sut"
)

// This file is what a crew can do, and what each answer means for the model.

// token is one to come with: as a rule that of the flow, now and then another's, a session's, or none.
func (c *crew) token(own string) string {
	if c.chance(86) {
		return own
	}
	var others []string
	for _, f := range c.flows {
		others = append(others, f.token)
	}
	for _, v := range c.passes {
		others = append(others, v.token)
	}
	others = append(others, "", own+"A", own[:max(0, len(own)-1)], strings.ToLower(own), strings.Replace(own, "si_", "se_", 1), strings.Replace(own, "se_", "si_", 1))
	return pick(c, others)
}

// flowOf is the flow of a token; nil for none.
func (c *crew) flowOf(token string) *flow {
	for _, f := range c.flows {
		if f.token == token {
			return f
		}
	}
	return nil
}

// passOf is the session of a token; nil for none.
func (c *crew) passOf(token string) *pass {
	for _, v := range c.passes {
		if v.token == token {
			return v
		}
	}
	return nil
}

// came notes that a session was used, perhaps.
func (c *crew) came(v *pass, a sut.Answer) {
	if a.Status != http.StatusUnauthorized && v.mayUse(c.now) {
		v.used = c.now
	}
}

// again keeps a step, to be played once more.
func (c *crew) again(step func()) {
	c.replays = append(c.replays, step)
	c.replays = c.replays[max(0, len(c.replays)-8):]
}

// judged is a code that was typed and what was said of it.
type judged struct {
	what  string
	a     sut.Answer
	how   style
	typed string
	// of counts it; nil where it is for nobody.
	of    *soul
	count *count
	in    bool // what success looks like
	may   bool // what the model says
	must  bool // a right code in a usual request must succeed
	// late is a call of which a second attempt, coming late, undoes what was right; nobody is told of that.
	late string
}

// judge compares an answer with the model. It returns whether somebody got in.
func (c *crew) judge(j judged) bool {
	v := verdict(j.a)
	if _, is := canonicalCode(j.typed); !is && v == wrongCode && j.what != "recover" {
		v = noCode // pages call both wrong
	}
	if j.a.Status == http.StatusServiceUnavailable {
		c.lost = true
		return false
	}
	c.tell("%s %q (%s): %s, in %v, may %v", j.what, j.typed, j.how, brief(j.a), j.in, j.may)
	unsure := j.of == nil || j.of.unsure
	switch {
	case j.in && !j.may:
		c.bad("%s lets in whom the model does not: %s", j.what, j.a)
	case j.in:
		c.tally.note(j.what)
		return true
	case v == wrongCode && j.of == nil:
		c.bad("%s looked at a code for nobody: %s", j.what, j.a)
	case v == wrongCode && j.may && !j.of.doubted(j.typed, c.now):
		c.bad("%s calls a right code wrong: %s", j.what, j.a)
	case v == wrongCode && !unsure && !j.count.open(c.now):
		c.bad("%s looked at a code while the factor is closed, after %d failures: %s", j.what, j.count.failures, j.a)
	case v == wrongCode:
		c.tally.note(wrongCode)
		j.count.wrong(c.now)
	case v == locked && !unsure && j.count.open(c.now):
		c.bad("%s is closed after %d failures, and should be open: %s", j.what, j.count.failures, j.a)
	case v == locked:
		c.tally.note(locked)
	case j.may && j.must && j.how.usual() && (j.late == "" || c.h.repeated(j.late) == 0):
		c.bad("%s refuses what is right: %s", j.what, j.a)
	}
	return false
}

func (c *crew) verify(f *flow) {
	c.verifyWith(f, c.token(f.token), c.guess(f.of, f.of.key, f.text))
}

func (c *crew) verifyWith(f *flow, token, typed string) {
	c.again(func() { c.verifyWith(f, token, typed) })
	a, how, sent := c.play(
		wire{method: http.MethodPost, path: "/v1/sign-ins/" + f.id + "/verify", token: token, fields: map[string]any{"code": typed}},
		&pages{path: "/sign-in/code", signIn: token, form: oneField("code", typed)},
	)
	if !sent {
		return
	}
	target := c.flowOf(token)
	if target != f && how != asPage {
		target = nil
	}
	j := judged{what: "verify", a: a, how: how, typed: typed, in: handedOut(a) != "", must: true}
	if target != nil {
		j.of, j.count, j.may = target.of, &target.of.guess, target.mayVerify(typed, c.now)
	}
	if c.judge(j) {
		code, _ := canonicalCode(typed)
		target.status = "complete"
		if target.text != nil {
			target.text.dead = true
		}
		target.of.accepted(code, c.now)
		c.opens(handedOut(a), target.of, true)
	}
}

func (c *crew) enrol(f *flow) {
	fields := map[string]any{"factor": "totp"}
	if f.of.sms != c.chance(4) {
		fields = map[string]any{"factor": "sms", "phone": f.of.phone}
	}
	token := c.token(f.token)
	a, how, sent := c.play(wire{method: http.MethodPost, path: "/v1/sign-ins/" + f.id + "/enrollment", token: token, fields: fields}, nil)
	if !sent {
		return
	}
	c.tell("enrol %s (%s): %s", f.of.user, how, brief(a))
	if a.Status != http.StatusCreated {
		if how.usual() && token == f.token && f.mayBegin(c.now) && !f.of.sms && fields["factor"] == "totp" {
			c.bad("an enrolment is refused: %s", a)
		}
		return
	}
	if token != f.token || !f.mayBegin(c.now) {
		c.bad("an enrolment begins where none may: %s", a)
		return
	}
	if f.of.sms {
		f.of.number = f
		c.arrives(f)
		return
	}
	if e := sut.Want[sut.Enrollment](c.t, http.StatusCreated, a); f.seed == nil || e.Key != f.seed.key {
		f.seed = &seed{key: e.Key, at: c.now}
	}
	f.of.seed = f.seed
}

func (c *crew) confirm(f *flow) {
	key := ""
	if f.seed != nil {
		key = f.seed.key
	}
	c.confirmWith(f, c.token(f.token), c.guess(f.of, key, f.text))
}

func (c *crew) confirmWith(f *flow, token, typed string) {
	c.again(func() { c.confirmWith(f, token, typed) })
	a, how, sent := c.play(
		wire{method: http.MethodPost, path: "/v1/sign-ins/" + f.id + "/enrollment/confirm", token: token, fields: map[string]any{"code": typed}},
		&pages{path: "/sign-in/enroll/confirm", signIn: token, form: oneField("code", typed)},
	)
	if !sent {
		return
	}
	target := c.flowOf(token)
	if target != f && how != asPage {
		target = nil
	}
	j := judged{what: "confirm app", a: a, how: how, typed: typed, in: handedOut(a) != "", must: true, late: contract.TOTPBegin.Subject}
	if target != nil {
		j.of, j.count, j.may = target.of, &target.of.guess, target.mayConfirm(typed, c.now)
		if target.of.sms {
			var s sut.SignIn
			j.what = "confirm phone"
			j.in = j.in || a.Status == http.StatusOK && how != asPage && a.Decode(&s) == nil && s.Status == "relogin" || strings.Contains(a.Header.Get("Location"), "notice=confirmed")
		}
	}
	if !c.judge(j) {
		c.shown(target, how, a)
		// A sign-in that finds its person enrolled by another is over, right code or not.
		if target != nil && a.Status < 500 && target.of.enrolled && target.status == "enroll" && oneOf(verdict(a), "conflict", "303") {
			target.status = "relogin"
		}
		return
	}
	p := target.of
	code, _ := canonicalCode(typed)
	p.enrolled, p.step, p.life = true, 0, p.life+1
	target.status = "complete"
	if p.sms {
		target.status, target.text.dead = "relogin", true
	} else {
		p.key = target.seed.key
	}
	p.seed, p.number = nil, nil
	p.accepted(code, c.now)
	c.ends(p, nil)
	if !p.sms {
		c.opens(handedOut(a), p, true)
	}
}

// shownKey is the key on a page that shows one.
var shownKey = regexp.MustCompile(`<code class="key"[^>]*>([^<]+)</code>`)

// shown takes in the page that answers a refused code. Whoever typed it sees the QR code again: if another sign-in of the
// person was begun since, that is a new one, and the other's is replaced.
func (c *crew) shown(f *flow, how style, a sut.Answer) {
	m := shownKey.FindSubmatch(a.Body)
	if how != asPage || m == nil {
		return
	}
	if f == nil || f.of.sms || !f.mayBegin(c.now) {
		c.bad("an enrolment is shown where none may begin: %s", a)
		return
	}
	key := strings.Map(func(r rune) rune {
		if r >= 'A' && r <= 'Z' || r >= '2' && r <= '7' {
			return r
		}
		return -1
	}, string(m[1]))
	if f.seed == nil || f.seed.key != key {
		c.tell("  another QR code for %s", f.of.user)
		f.seed = &seed{key: key, at: c.now}
	}
	f.of.seed = f.seed
}

func (c *crew) skip(f *flow) {
	token := c.token(f.token)
	a, how, sent := c.play(
		wire{method: http.MethodPost, path: "/v1/sign-ins/" + f.id + "/enrollment/skip", token: token},
		&pages{path: "/sign-in/enroll/skip", signIn: token, form: url.Values{}},
	)
	if !sent {
		return
	}
	target := c.flowOf(token)
	if target != f && how != asPage {
		target = nil
	}
	may := target != nil && target.maySkip(c.now)
	if c.judge(judged{what: "skip", a: a, how: how, in: handedOut(a) != "", may: may, must: may && target.life == target.of.life}) {
		target.status, target.of.skipped = "complete", true
		c.opens(handedOut(a), target.of, false)
	}
}

func (c *crew) resend(f *flow) {
	token := c.token(f.token)
	a, how, sent := c.play(wire{method: http.MethodPost, path: "/v1/sign-ins/" + f.id + "/resend", token: token}, nil)
	if !sent {
		return
	}
	c.tell("resend %s (%s): %s", f.of.user, how, brief(a))
	if a.Status != http.StatusOK || how == half {
		return
	}
	if token != f.token || !f.live(c.now) || !f.of.sms {
		c.bad("a text is sent where none may: %s", a)
		return
	}
	c.tally.note("resend")
	c.arrives(f)
}

// plain is the one spelling of a recovery code.
func plain(code string) string {
	return strings.NewReplacer("-", "", " ", "", "O", "0", "I", "1", "L", "1").Replace(strings.ToUpper(code))
}

func (c *crew) recover(f *flow) {
	p := f.of
	typed := "0000-0000-0000-0000"
	switch n := c.rand.IntN(100); {
	case n < 45 && len(p.codes) > 0:
		var own []string
		for code := range p.codes {
			own = append(own, code)
		}
		slices.Sort(own)
		typed = pick(c, spellings(pick(c, own)))
	case n < 60:
		for code := range pick(c, c.people).codes {
			typed = code
			break
		}
	case n < 75 && len(p.used) > 0:
		typed = pick(c, p.used)
	}
	c.recoverWith(f, c.token(f.token), typed)
}

func (c *crew) recoverWith(f *flow, token, typed string) {
	c.again(func() { c.recoverWith(f, token, typed) })
	p := f.of
	a, how, sent := c.play(wire{method: http.MethodPost, path: "/v1/sign-ins/" + f.id + "/recover", token: token, fields: map[string]any{"recovery_code": typed}}, nil)
	if !sent {
		return
	}
	j := judged{what: "recover", a: a, how: how, typed: typed, in: a.Status == http.StatusOK, must: p.sure}
	if token == f.token {
		j.of, j.count, j.may = p, &p.spare, f.mayRecover(typed, c.now)
	}
	if !c.judge(j) {
		return
	}
	delete(p.codes, plain(typed))
	p.used = append(p.used, typed)
	p.spare, p.guess, p.unsure, p.sure, p.recovered = count{}, count{}, true, false, c.now
	p.enrolled, p.skipped, p.life, p.seed, p.number = false, false, p.life+1, nil, nil
	f.status, f.canSkip, f.life, f.seed, f.text = "enroll", false, p.life, nil, nil
	c.ends(p, nil)
}

func (c *crew) look(f *flow) {
	token := c.token(f.token)
	a, how, sent := c.play(wire{method: http.MethodGet, path: "/v1/sign-ins/" + f.id, token: token}, nil)
	if !sent {
		return
	}
	if a.Status == http.StatusOK && how.usual() && token != f.token {
		c.bad("a sign-in is shown to another: %s", a)
	}
}

func (c *crew) stepUp(v *pass) {
	typed, password := c.guess(v.of, v.of.key, nil), sut.DemoPassword
	if c.chance(10) {
		password = "guess"
	}
	c.stepUpWith(v, c.token(v.token), password, typed)
}

func (c *crew) stepUpWith(v *pass, token, password, typed string) {
	c.again(func() { c.stepUpWith(v, token, password, typed) })
	a, how, sent := c.play(wire{method: http.MethodPost, path: "/v1/session/step-up", token: token, fields: map[string]any{"password": password, "code": typed}}, nil)
	if !sent {
		return
	}
	target := c.passOf(token)
	j := judged{what: "step-up", a: a, how: how, typed: typed, in: a.Status == http.StatusNoContent}
	if target != nil && password == sut.DemoPassword {
		j.of, j.count, j.may = target.of, &target.of.guess, target.mayStepUp(typed, c.now)
	}
	c.came(target, a)
	if a.Status == http.StatusUnauthorized && target != nil && target.over && time.Since(target.ended) < hearsWithin {
		// A gateway that has not heard of the end takes the code, and hears of it when it writes what was proved: whether a
		// right one is spent, nobody knows.
		was := *target
		if was.over = false; was.mayStepUp(typed, c.now) {
			target.of.doubt(typed, c.now)
		}
	}
	if c.judge(j) {
		target.surely, target.proven = c.now, c.now
		if target.of.enrolled {
			code, _ := canonicalCode(typed)
			target.of.accepted(code, c.now)
		}
	}
}

func (c *crew) newCodes(v *pass) {
	token := c.token(v.token)
	a, how, sent := c.play(wire{method: http.MethodPost, path: "/v1/account/recovery-codes", token: token}, nil)
	target := c.passOf(token)
	may := target.mayUse(c.now) && target.fresh(c.now) && target.of.enrolled
	c.came(target, a)
	if !sent || !c.judge(judged{what: "codes", a: a, how: how, in: a.Status == http.StatusOK, may: may}) {
		return
	}
	var codes struct {
		Codes []string `json:"codes"`
	}
	if err := a.Decode(&codes); err != nil {
		c.bad("%v", err)
	}
	p := target.of
	for code := range p.codes {
		p.used = append(p.used, code)
	}
	p.codes, p.sure, target.surely = map[string]bool{}, c.now.After(p.recovered), c.now
	for _, code := range codes.Codes {
		p.codes[plain(code)] = true
	}
}

func (c *crew) replace(v *pass) {
	token := c.token(v.token)
	a, how, sent := c.play(wire{method: http.MethodPost, path: "/v1/account/factors/totp", token: token}, nil)
	target := c.passOf(token)
	may := target.mayUse(c.now) && target.fresh(c.now) && !target.of.sms
	c.came(target, a)
	if !sent || !c.judge(judged{what: "another app", a: a, how: how, in: a.Status == http.StatusCreated, may: may}) {
		return
	}
	if e := sut.Want[sut.Enrollment](c.t, http.StatusCreated, a); target.seed == nil || target.seed.key != e.Key {
		target.seed = &seed{key: e.Key, at: c.now}
	}
	target.of.seed, target.surely = target.seed, c.now
}

func (c *crew) confirmReplaced(v *pass) {
	key := ""
	if v.seed != nil {
		key = v.seed.key
	}
	token, typed := c.token(v.token), c.guess(v.of, key, nil)
	a, how, sent := c.play(wire{method: http.MethodPost, path: "/v1/account/factors/totp/confirm", token: token, fields: map[string]any{"code": typed}}, nil)
	if !sent {
		return
	}
	target := c.passOf(token)
	j := judged{what: "replace", a: a, how: how, typed: typed, in: handedOut(a) != ""}
	if target != nil {
		j.of, j.count, j.may = target.of, &target.of.guess, target.mayReplace(typed, c.now)
	}
	c.came(target, a)
	if !c.judge(j) {
		return
	}
	p := target.of
	code, _ := canonicalCode(typed)
	p.key, p.step, p.life, p.seed = target.seed.key, 0, p.life+1, nil
	p.accepted(code, c.now)
	c.ends(p, nil)
	c.opens(handedOut(a), p, true)
}

// use asks who is signed in. A session that has ended is known as such by every gateway within a second.
func (c *crew) use(v *pass) {
	token := c.token(v.token)
	a, how, sent := c.play(wire{method: http.MethodGet, path: "/v1/session", token: token}, nil)
	if !sent {
		return
	}
	target := c.passOf(token)
	// The second is the product's; what the machine takes to say so comes on top of it.
	for slowest := a.Took; a.Status == http.StatusOK && how.usual() && target != nil && target.over && time.Since(target.ended) < hearsWithin+slowest; slowest = max(slowest, a.Took) {
		if a, sent = c.send(wire{method: http.MethodGet, path: "/v1/session", token: token}); !sent {
			return
		}
	}
	may := target.mayUse(c.now)
	must := may && c.now.Before(target.surely.Add(29*time.Minute))
	c.came(target, a)
	if c.judge(judged{what: "use", a: a, how: how, in: a.Status == http.StatusOK, may: may, must: must}) {
		target.surely = c.now
		var who sut.Session
		if err := a.Decode(&who); err == nil && how.usual() && who.User.ID != target.of.user {
			c.bad("a session of %s is somebody else's: %s", target.of.user, a)
		}
	}
}

func (c *crew) signOut(v *pass) {
	token := c.token(v.token)
	a, ok := c.send(wire{method: http.MethodDelete, path: "/v1/session", token: token})
	if target := c.passOf(token); ok && a.Status == http.StatusNoContent && target != nil {
		c.tell("sign out %s", target.of.user)
		target.over, target.ended = true, time.Now()
	}
}
