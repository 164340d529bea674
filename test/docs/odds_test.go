package docs

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"sallyport/pkg/digits"
	"sallyport/pkg/lockout"
	"sallyport/pkg/meter"
)

// mostInARow is what NIST SP 800-63B-4 §3.2.2 allows at most.
const mostInARow = 100

// The odds of docs/security.md are worked out from the constants of the code, here and nowhere else.
func TestTheOddsAreThoseOfTheCode(t *testing.T) {
	if lockout.Limit > mostInARow {
		t.Errorf("%d failures in a row, NIST allows %d", lockout.Limit, mostInARow)
	}
	totp, sms := constants(t, "services/totp-svc/totp"), constants(t, "services/sms-dispatcher/sms")
	for name, of := range map[string]map[string]int64{"window": totp, "recoveryCodes": totp, "recoveryLength": totp, "codeLife": sms, "mostTexts": sms, "mostADay": sms} {
		if of[name] == 0 {
			t.Fatalf("there is no constant %s any more", name)
		}
	}
	codes := math.Pow10(digits.Length)
	app := float64(2*totp["window"]+1) / codes
	text := 1 / codes
	between(t, "docs/security.md", "schedule", schedule(app, text))
	between(t, "docs/security.md", "odds", odds(t, app, text, totp, sms))
	between(t, "docs/security.md", "crowd", crowd(t, app, text))
}

// opens are the moments at which the rounds of a factor open, for somebody who never waits longer than they must, and
// whose guesses take no time.
func opens() []time.Duration {
	var s lockout.State
	var out []time.Duration
	began := time.Unix(0, 0)
	for now := began; !s.Disabled(); s.Failures, s.LastAt = s.Failures+1, now {
		if until, locked := s.LockedUntil(now); locked {
			now = until
		}
		if s.Failures%lockout.Round == 0 {
			out = append(out, now.Sub(began))
		}
	}
	return out
}

// tries is how many guesses are compared within a time.
func tries(within time.Duration) int {
	n := 0
	for _, at := range opens() {
		if at < within {
			n += lockout.Round
		}
	}
	return n
}

func schedule(app, text float64) string {
	var b strings.Builder
	b.WriteString("| guess | compared from | odds so far, authenticator | odds so far, text message |\n|---|---|---|---|\n")
	for i, at := range opens() {
		from, to := i*lockout.Round+1, (i+1)*lockout.Round
		when := "at once"
		if at > 0 {
			when = span(at)
		}
		fmt.Fprintf(&b, "| %d to %d | %s | %s | %s |\n", from, to, when, millionths(float64(to)*app), millionths(float64(to)*text))
	}
	fmt.Fprintf(&b, "| %d | never | | |\n", lockout.Limit+1)
	return b.String()
}

func odds(t *testing.T, app, text float64, totp, sms map[string]int64) string {
	t.Helper()
	recovery := float64(totp["recoveryCodes"]) / math.Pow(32, float64(totp["recoveryLength"]))
	limits, err := meter.Parse(setting(t, "services/auth-gateway/gateway/service.go", "PASSWORD_LIMIT_ACCOUNT"))
	if err != nil {
		t.Fatal(err)
	}
	within := func(w time.Duration) int {
		for _, l := range limits {
			if l.Window == w {
				return l.Most
			}
		}
		t.Fatalf("no limit of %s for the passwords of an account", w)
		return 0
	}
	day := within(meter.Day)
	ever := strconv.Itoa(lockout.Limit)
	var b strings.Builder
	b.WriteString("| what is guessed | by whom | one guess is right | tries in 10 minutes | in an hour | in a day | in a row, ever | odds of all of these |\n|---|---|---|---|---|---|---|---|\n")
	row := func(what, who string, p float64) {
		fmt.Fprintf(&b, "| %s | %s | %s | %d | %d | %d | %s | %s |\n", what, who, chance(p), tries(10*time.Minute), tries(time.Hour), tries(meter.Day), ever, chance(p*lockout.Limit))
	}
	row("code of an authenticator", "who has the password", app)
	row(fmt.Sprintf("code of a text (lives %s)", span(time.Duration(sms["codeLife"]))), "who has the password", text)
	row(fmt.Sprintf("one of %d recovery codes", totp["recoveryCodes"]), "who has the password", recovery)
	fmt.Fprintf(&b, "| password, one of a million equally likely | anybody | %s | %d | %d | %d | no such end | %s a year |\n",
		chance(1e-6), within(10*time.Minute), within(time.Hour), day, chance(1e-6*float64(365*day)))
	return b.String()
}

func crowd(t *testing.T, app, text float64) string {
	t.Helper()
	network, err := meter.Parse(setting(t, "services/auth-gateway/gateway/service.go", "PASSWORD_LIMIT_NETWORK"))
	if err != nil {
		t.Fatal(err)
	}
	wrong := 0
	for _, l := range network {
		if l.Window == meter.Day {
			wrong = l.Most
		}
	}
	hits := float64(wrong) / 99 // of a hundred pairs one is right, and only the wrong ones count
	var b strings.Builder
	b.WriteString("| the attacker has | and does | tries | doors that open, to be expected: authenticator | text message |\n|---|---|---|---|---|\n")
	row := func(has, does string, guesses float64, unit string) {
		fmt.Fprintf(&b, "| %s | %s | %s%s | %s%s | %s%s |\n", has, does, figure(guesses), unit, figure(guesses*app), unit, figure(guesses*text), unit)
	}
	row("one right password", "guesses until the factor is disabled", lockout.Limit, "")
	row("one right password", fmt.Sprintf("stops at %d and goes on after each sign-in of the owner, 250 a year", lockout.Limit-1), 250*(lockout.Limit-1), " a year")
	row("1,000 right passwords", "the first, on each account", 1000*lockout.Limit, "")
	row("10,000 right passwords", "the same", 10000*lockout.Limit, "")
	row(fmt.Sprintf("a list of pairs of which one in a hundred is right, and one network: %s hits a day", figure(hits)), "the same, on each hit", hits*lockout.Limit, " a day")
	return b.String()
}

// span is a time in words.
func span(d time.Duration) string {
	var out []string
	for _, unit := range []struct {
		name string
		long time.Duration
	}{{"h", time.Hour}, {"min", time.Minute}, {"s", time.Second}} {
		if n := d / unit.long; n > 0 {
			out = append(out, fmt.Sprintf("%d %s", n, unit.name))
			d -= n * unit.long
		}
	}
	return strings.Join(out, " ")
}

func millionths(p float64) string { return figure(p*1e6) + " in a million" }

// chance is a probability as people say it.
func chance(p float64) string {
	switch {
	case p >= 1e-3:
		return "1 in " + figure(math.Round(1/p))
	case p >= 1e-6:
		return millionths(p)
	default:
		tens := math.Floor(math.Log10(p))
		return fmt.Sprintf("%.0f in 10^%.0f", math.Ceil(p/math.Pow(10, tens)), -tens)
	}
}

// figure is a number with two digits that count, or whole with commas.
func figure(f float64) string {
	if f >= 100 || f == math.Trunc(f) {
		whole := strconv.FormatInt(int64(math.Round(f)), 10)
		for i := len(whole) - 3; i > 0; i -= 3 {
			whole = whole[:i] + "," + whole[i:]
		}
		return whole
	}
	// Two digits that count, and never an exponent.
	return strconv.FormatFloat(f, 'f', max(0, 1-int(math.Floor(math.Log10(f)))), 64)
}
