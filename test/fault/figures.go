package fault

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Figures are what a ledger comes to, a line each.
func (l Ledger) Figures() string {
	c := l.byChallenge()
	outcomes, times := map[string]int{}, map[int]int{}
	var unsure, ambiguous, more, facts int
	var longest time.Duration
	for id, told := range c.told {
		r := l.Records[id]
		outcomes[r.State]++
		handed := c.handed[id]
		times[len(handed)]++
		more += max(0, len(handed)-1)
		for _, h := range handed {
			if l.ambiguous(h) {
				unsure++
			}
		}
		ambiguous += r.Ambiguous
		facts += len(c.facts[id])
		if r.ended() {
			longest = max(longest, r.EndedAt.Sub(told[0].At))
		}
	}
	answers := map[string]int{}
	for _, h := range l.Handoffs {
		answers[string(h.Answer)]++
	}
	closed := map[string]int{}
	for _, e := range l.Closings {
		closed[string(e.Why)]++
	}
	var b strings.Builder
	line := func(what, format string, args ...any) {
		fmt.Fprintf(&b, "  %-34s %s\n", what, fmt.Sprintf(format, args...))
	}
	line("challenges told", "%d", len(c.told))
	line("outcomes", "%s", counts(outcomes))
	line("hand-offs per challenge", "%s", counts(times))
	line("hand-offs beyond the first", "%d", more)
	line("ambiguous outcomes (the store)", "%d", ambiguous)
	line("hand-offs that may be ambiguous", "%d", unsure)
	line("requests by answer", "%s", counts(answers))
	line("closed by clients", "%s", counts(closed))
	line("facts heard", "%d", facts)
	line("kills, pauses", "%d", len(l.Incidents))
	line("longest time to an outcome", "%v", longest.Round(time.Millisecond))
	return b.String()
}

// counts lists how often there was what, in the order of what.
func counts[K int | string](m map[K]int) string {
	var parts []string
	for _, k := range slices.Sorted(maps.Keys(m)) {
		parts = append(parts, fmt.Sprintf("%v: %d", k, m[k]))
	}
	if parts == nil {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// story is all that happened to one challenge, in the order of time: for whoever looks into a complaint.
func (l Ledger) story(id string) string {
	type event struct {
		at   time.Time
		what string
	}
	var all []event
	add := func(at time.Time, format string, args ...any) {
		all = append(all, event{at, fmt.Sprintf(format, args...)})
	}
	c := l.byChallenge()
	for _, t := range c.told[id] {
		add(t.At, "told; the code expires at %s", t.ExpiresAt.Local().Format("15:04:05.000"))
	}
	by := map[string]bool{}
	for _, r := range c.reserved[id] {
		add(r.At, "reserved by %s", r.By)
		by[r.By] = true
	}
	for _, h := range l.Handoffs {
		if h.Challenge == id {
			add(h.At, "request of %s; %s after %v", h.By, h.Answer, h.Answered.Sub(h.At))
		}
	}
	for _, e := range c.closings[id] {
		if e.Why != Expired {
			add(e.At, "%s", e.Why)
		}
	}
	for _, i := range l.Incidents {
		if by[i.By] {
			add(i.From, "incident of %s, until %v", i.By, i.To.Format("15:04:05.000"))
		}
	}
	for _, f := range c.facts[id] {
		add(f.At, "fact: %s (%s) after %d", f.Outcome, f.Reason, f.Attempts)
	}
	if r, ok := l.Records[id]; ok {
		add(r.EndedAt, "record: %s (%s), %d attempts, %d ambiguous, closed %q", r.State, r.Reason, r.Attempts, r.Ambiguous, r.Closed)
	}
	slices.SortStableFunc(all, func(a, b event) int { return a.at.Compare(b.at) })
	var b strings.Builder
	for _, e := range all {
		fmt.Fprintf(&b, "    %s %s\n", e.at.Local().Format("15:04:05.000"), e.what)
	}
	return b.String()
}
