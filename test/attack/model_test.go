package attack

import (
	"time"

	otp "github.com/pquerna/otp/totp"

	"sallyport/test/sut"
)

// This file is the model: what a code, a sign-in and a session may be good for, in a few rules that know of no service,
// store or bus. The flows of flow_test.go hold the product against it.

// count is the count of wrong codes of one factor.
type count struct {
	failures int
	at       time.Time
}

// open tells whether a code may be looked at now.
func (c count) open(now time.Time) bool {
	if c.failures >= 50 {
		return false
	}
	if c.failures == 0 || c.failures%5 != 0 {
		return true
	}
	wait := 30 * time.Second
	for range c.failures/5 - 1 {
		wait = min(2*wait, time.Hour)
	}
	return !now.Before(c.at.Add(wait))
}

func (c *count) wrong(now time.Time) { c.failures, c.at = c.failures+1, now }

// soul is a person in the model.
type soul struct {
	*person
	sms               bool
	enrolled, skipped bool
	// life is how often their factor has changed: what was begun under another one is over.
	life  int
	step  int64 // the last that was accepted of their app
	guess count // of their factor, app or telephone
	spare count // of their recovery codes
	// unsure is set while it is open whether a recovery, or a code that may be spent, has started the count again.
	unsure bool
	// maybe is the last step that may be spent.
	maybe  int64
	seed   *seed // that waits for its first code, wherever it was begun
	number *flow // whose number waits for its first code
	codes  map[string]bool
	// sure is set while all of codes are known to be good; a recovery may kill the rest.
	sure bool
	// recovered is when they were last used: what was made at that very moment may be taken for older, on a clock that stands.
	recovered time.Time
	// used are codes of any kind that were accepted once.
	used []string
	// texts is how many texts have come to their telephone.
	texts int
}

// seed is one that was shown.
type seed struct {
	key string
	at  time.Time
}

// text is a code that was sent.
type text struct {
	code string
	at   time.Time
	dead bool
}

// flow is a sign-in in the model.
type flow struct {
	id, token string
	of        *soul
	status    string
	at        time.Time
	life      int
	canSkip   bool
	seed      *seed
	text      *text
}

// pass is a session in the model.
type pass struct {
	token string
	of    *soul
	// ended is when it ended, of the host's time: other gateways hear of it a moment later. endedFor says why.
	ended        time.Time
	over         bool
	opened, used time.Time
	// surely is when it was certainly used: of a request that was refused nobody knows whether it counts as a use.
	surely time.Time
	// proven is when password and factor were last proved in it; zero if never.
	proven time.Time
	seed   *seed
}

func stepOf(at time.Time) int64 { return at.Unix() / int64(sut.Step/time.Second) }

// stepFor is the step of a code, if an app with this key shows it in the window of now.
func stepFor(key, code string, now time.Time) (int64, bool) {
	for _, d := range []int64{0, -1, 1} {
		at := now.Add(time.Duration(d) * sut.Step)
		if shown, err := otp.GenerateCode(key, at); err == nil && shown == code {
			return stepOf(at), true
		}
	}
	return 0, false
}

// canonical is the code that a text means, if it is one: the rule of what a person may type.
func canonicalCode(text string) (string, bool) {
	if len(text) > 32 {
		return "", false
	}
	code, dash := "", false
	for _, r := range text {
		switch {
		case r == ' ':
		case r == '-' && code != "":
			dash = true
		case r >= '0' && r <= '9':
			code, dash = code+string(r), false
		default:
			return "", false
		}
	}
	return code, len(code) == 6 && !dash
}

func (f *flow) live(now time.Time) bool {
	return f != nil && now.Before(f.at.Add(10*time.Minute)) && (f.status == "enroll" || f.status == "challenge")
}

// right tells whether a typed text is the right code for a living factor, I1: a step above the last one, or the text of
// this very flow, younger than five minutes.
func (f *flow) right(typed string, now time.Time) (step int64, ok bool) {
	code, is := canonicalCode(typed)
	if !is || !f.of.enrolled || f.life != f.of.life {
		return 0, false
	}
	if f.of.sms {
		return 0, f.text.good(code, now)
	}
	step, ok = stepFor(f.of.key, code, now)
	return step, ok && step > f.of.step
}

func (x *text) good(code string, now time.Time) bool {
	return x != nil && !x.dead && x.code == code && now.Before(x.at.Add(5*time.Minute))
}

// mayVerify tells whether a code may complete a sign-in.
func (f *flow) mayVerify(typed string, now time.Time) bool {
	if !f.live(now) || f.status != "challenge" || !f.of.guess.open(now) {
		return false
	}
	_, ok := f.right(typed, now)
	return ok
}

// mayBegin tells whether a seed may be shown, or a number texted, in a sign-in: never in the place of a living factor, I5.
func (f *flow) mayBegin(now time.Time) bool {
	return f.live(now) && f.status == "enroll" && !f.of.enrolled && f.life == f.of.life
}

// mayConfirm tells whether a code may make a new factor the living one.
func (f *flow) mayConfirm(typed string, now time.Time) bool {
	code, is := canonicalCode(typed)
	if !is || !f.mayBegin(now) || !f.of.unsure && !f.of.guess.open(now) {
		return false
	}
	if f.of.sms {
		return f.of.number == f && f.text.good(code, now)
	}
	return f.seed.confirms(f.of.seed, code, now)
}

// confirms tells whether this is the seed that waits, and the code one of its.
func (s *seed) confirms(waiting *seed, code string, now time.Time) bool {
	if s == nil || s != waiting || !now.Before(s.at.Add(10*time.Minute)) {
		return false
	}
	_, ok := stepFor(s.key, code, now)
	return ok
}

// maySkip tells whether a person may decline, which policy is asked at that moment: what became of their factor since the
// sign-in began is no matter, as long as there is none.
func (f *flow) maySkip(now time.Time) bool {
	return f.live(now) && f.status == "enroll" && !f.of.enrolled && f.canSkip && f.of.sms
}

// mayRecover tells whether a recovery code may be spent.
func (f *flow) mayRecover(typed string, now time.Time) bool {
	return f.live(now) && f.status == "challenge" && f.of.spare.open(now) && f.of.codes[plain(typed)]
}

// mayUse tells whether a session is one.
func (v *pass) mayUse(now time.Time) bool {
	return v != nil && !v.over && now.Before(v.opened.Add(12*time.Hour)) && now.Before(v.used.Add(30*time.Minute))
}

// fresh tells whether somebody proved all they have a moment ago.
func (v *pass) fresh(now time.Time) bool { return now.Before(v.proven.Add(5 * time.Minute)) }

// mayStepUp tells whether password and code prove a session again. Who has no factor proves it with the password.
func (v *pass) mayStepUp(typed string, now time.Time) bool {
	if !v.mayUse(now) {
		return false
	}
	if !v.of.enrolled {
		return true
	}
	code, is := canonicalCode(typed)
	if !is || v.of.sms || !v.of.guess.open(now) { // a sign-in's text is none of a step-up's, and none is sent for one here
		return false
	}
	step, ok := stepFor(v.of.key, code, now)
	return ok && step > v.of.step
}

// mayReplace tells whether a code may put a new app in the place of the living one.
func (v *pass) mayReplace(typed string, now time.Time) bool {
	code, is := canonicalCode(typed)
	return is && v.mayUse(now) && v.of.guess.open(now) && v.seed.confirms(v.of.seed, code, now)
}

// doubt notes a right code of which nobody knows whether it is spent; doubted tells whether a code may be.
func (p *soul) doubt(typed string, now time.Time) {
	if step, ok := p.stepOfTyped(typed, now); ok {
		p.maybe, p.unsure = max(p.maybe, step), true
	}
}

func (p *soul) doubted(typed string, now time.Time) bool {
	step, ok := p.stepOfTyped(typed, now)
	return ok && step <= p.maybe
}

func (p *soul) stepOfTyped(typed string, now time.Time) (int64, bool) {
	code, ok := canonicalCode(typed)
	if !ok || p.sms || p.key == "" {
		return 0, false
	}
	return stepFor(p.key, code, now)
}

// accepted moves the model on after a right code of the person's factor.
func (p *soul) accepted(typed string, now time.Time) {
	if step, ok := stepFor(p.key, typed, now); ok && !p.sms {
		p.step = max(p.step, step)
	}
	p.guess, p.unsure = count{}, false
	p.used = append(p.used, typed)
}
