package totp

import (
	"reflect"
	"testing"
	"time"

	"sallyport/pkg/contract"
	"sallyport/pkg/lockout"
)

func TestB16JudgeDrift(t *testing.T) {
	const current = 1000
	first := drift{Seed: "s", Step: 980, Offset: -10, Failures: 1} // found when the current step was 990
	for name, c := range map[string]struct {
		before   *drift
		found    []int64
		failures int
		ok       bool
		want     drift
	}{
		"nothing found":         {&first, nil, 2, false, drift{}},
		"the first":             {nil, []int64{990}, 1, true, drift{"s", 990, -10, 1, false}},
		"the nearest":           {nil, []int64{900, 1004, 1100}, 1, true, drift{"s", 1004, 4, 1, false}},
		"the second":            {&first, []int64{990}, 2, true, drift{"s", 990, -10, 2, true}},
		"a step apart":          {&first, []int64{991}, 2, true, drift{"s", 991, -9, 2, true}},
		"two steps apart":       {&first, []int64{992}, 2, true, drift{"s", 992, -8, 2, false}},
		"among others":          {&first, []int64{990, 998, 1002}, 2, true, drift{"s", 990, -10, 2, true}},
		"a wrong one between":   {&first, []int64{990}, 3, true, drift{"s", 990, -10, 3, false}},
		"another secret's":      {&drift{Seed: "x", Step: 980, Offset: -10, Failures: 1}, []int64{990}, 2, true, drift{"s", 990, -10, 2, false}},
		"the same code again":   {&drift{Seed: "s", Step: 990, Offset: -10, Failures: 1}, []int64{990}, 2, true, drift{"s", 990, -10, 2, false}},
		"an earlier code":       {&drift{Seed: "s", Step: 991, Offset: -10, Failures: 1}, []int64{990}, 2, true, drift{"s", 990, -10, 2, false}},
		"looked at again":       {&first, []int64{980}, 1, true, first},
		"looked at again, sure": {&drift{"s", 990, -10, 2, true}, []int64{990}, 2, true, drift{"s", 990, -10, 2, true}},
	} {
		got, ok := judgeDrift(c.before, "s", c.found, current, c.failures)
		if got != c.want || ok != c.ok {
			t.Errorf("%s: %+v, %v; want %+v, %v", name, got, ok, c.want, c.ok)
		}
	}
}

func TestRefusals(t *testing.T) {
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	after := func(failures int) lockout.State { return lockout.State{Failures: failures, LastAt: at} }

	e := refuseWrong(after(3), at)
	if e.Code != contract.InvalidCode || *e.AttemptsLeft != 2 || e.LockedUntil != nil {
		t.Errorf("the third wrong code: %+v", e)
	}
	e = refuseWrong(after(10), at)
	if e.Code != contract.InvalidCode || *e.AttemptsLeft != 0 || !e.LockedUntil.Equal(at.Add(time.Minute)) {
		t.Errorf("the tenth wrong code: %+v", e)
	}
	e = refuseWrong(after(50), at)
	if e.Code != contract.InvalidCode || *e.AttemptsLeft != 0 || e.LockedUntil != nil || e.Detail != sayDisabled {
		t.Errorf("the fiftieth wrong code: %+v", e)
	}
	e = refuseLocked(after(5), at.Add(10*time.Second))
	if e.Code != contract.Locked || e.RetryAfter != 20 || !e.LockedUntil.Equal(at.Add(30*time.Second)) {
		t.Errorf("a locked factor: %+v", e)
	}
	e = refuseLocked(after(50), at.Add(1000*time.Hour))
	if e.Code != contract.Locked || e.RetryAfter != 3600 || e.LockedUntil != nil || e.Detail != sayDisabled {
		t.Errorf("a disabled factor: %+v", e)
	}
	if e = refuseWrong(after(3), at); e.Reason != "" {
		t.Errorf("a wrong code: %+v", e)
	}
	for name, c := range map[string]struct {
		state lockout.State
		later time.Duration
		left  int
	}{
		"at first":               {lockout.State{}, 0, 5},
		"after three":            {after(3), 0, 2},
		"when the lock is over":  {after(5), 30 * time.Second, 5},
		"in the second round":    {after(6), 0, 4},
		"after the longest lock": {after(45), time.Hour, 5},
	} {
		r, e := refuseMalformed(c.state, at.Add(c.later))
		if r != malformed || e.Code != contract.InvalidCode || left(e) != c.left || e.Reason != contract.CodeMalformed {
			t.Errorf("no code at all, %s: %s, %+v, %d left, want %d", name, r, e, left(e), c.left)
		}
	}
	for _, s := range []lockout.State{after(5), after(50)} {
		r, e := refuseMalformed(s, at.Add(10*time.Second))
		if want := refuseLocked(s, at.Add(10*time.Second)); r != closed || !reflect.DeepEqual(e, want) {
			t.Errorf("no code at all, after %d: %s, %+v, want %+v", s.Failures, r, e, want)
		}
	}
}
