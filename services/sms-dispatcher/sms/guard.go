package sms

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"sallyport/pkg/contract"
)

// Limit allows Most unanswered texts in every stretch of time as long as Window. A text is unanswered from the moment
// it is asked for until its code is typed rightly: who pumps texts to numbers of their own never types one.
type Limit struct {
	Most   int
	Window time.Duration
}

// Limits all hold at once. None of them is no limit.
type Limits []Limit

// parseLimits reads limits such as "5/10m,15/24h", or "off".
func parseLimits(text string) (Limits, error) {
	if strings.TrimSpace(text) == "off" {
		return nil, nil
	}
	const mostLimits = 4
	var out Limits
	for part := range strings.SplitSeq(text, ",") {
		most, window, ok := strings.Cut(strings.TrimSpace(part), "/")
		n, err := strconv.Atoi(most)
		w, werr := time.ParseDuration(window)
		switch {
		case !ok || err != nil || werr != nil || n < 1 || len(out) == mostLimits:
			return nil, fmt.Errorf("must be limits such as 5/10m,15/24h, or off; not %q", part)
		case w < time.Minute || w > day || w%time.Minute != 0:
			return nil, fmt.Errorf("a window is whole minutes, at most 24h; not %q", part)
		case slices.ContainsFunc(out, func(o Limit) bool { return o.Window == w }):
			return nil, fmt.Errorf("there are two limits for the same window, %q is the second", part)
		}
		out = append(out, Limit{n, w})
	}
	return out, nil
}

// day is the longest window.
const day = 24 * time.Hour

// buckets count texts by the part of a window in which they were asked for. The keys are a letter and a number that
// grows with time, so that a name is a name and never a place in a list.
type buckets map[string]int

// parts is into how many buckets a window is cut. A text counts until the last moment of its bucket is a window old,
// so a limit is never broken and at most one part too strict.
func (l Limit) parts() int64 {
	if l.Window <= time.Hour {
		return 10
	}
	return 24
}

func (l Limit) width() time.Duration { return l.Window / time.Duration(l.parts()) }

// name is that of the buckets of a window: limits with other windows keep others.
func (l Limit) name() string { return fmt.Sprintf("w%d", int(l.Window.Seconds())) }

func (l Limit) number(at time.Time) int64 { return at.UnixMilli() / l.width().Milliseconds() }

// bucket is where a text of this time counts.
func (l Limit) bucket(at time.Time) string { return "b" + strconv.FormatInt(l.number(at), 10) }

// numberOf is the number of a bucket; one that is none of ours is older than all.
func numberOf(bucket string) int64 {
	if len(bucket) < 2 {
		return -1
	}
	n, err := strconv.ParseInt(bucket[1:], 10, 64)
	if err != nil {
		return -1
	}
	return n
}

// oldest is the first bucket that counts at this time. Those of a replica whose clock is ahead count, too.
func (l Limit) oldest(now time.Time) int64 { return l.number(now) - l.parts() }

// sum is how many texts count now. What was given back twice makes no room for others: a bucket is never below none.
func (l Limit) sum(b buckets, now time.Time) int {
	oldest, sum := l.oldest(now), 0
	for name, n := range b {
		if numberOf(name) >= oldest {
			sum += max(n, 0)
		}
	}
	return sum
}

// free is when another text is within the limit again, if no more are asked for.
func (l Limit) free(b buckets, now time.Time) time.Time {
	oldest, left := l.oldest(now), l.sum(b, now)
	var counting []int64
	for name := range b {
		if n := numberOf(name); n >= oldest {
			counting = append(counting, n)
		}
	}
	slices.Sort(counting)
	for _, n := range counting {
		if left -= max(b["b"+strconv.FormatInt(n, 10)], 0); left < l.Most {
			return time.UnixMilli((n + l.parts() + 1) * l.width().Milliseconds()).UTC()
		}
	}
	return now
}

// stale are the buckets that count no more.
func (l Limit) stale(b buckets, now time.Time) []string {
	var out []string
	for name := range b {
		if numberOf(name) < l.oldest(now) {
			out = append(out, name)
		}
	}
	return out
}

// meter counts the unanswered texts of one subject: a number, a prefix, a network, a country or a portal. Its _id is
// portal "/" guard "/" subject, where a number or prefix is a keyed hash.
type meter struct {
	ID string `bson:"_id"`
	// Counts are the buckets of each window.
	Counts map[string]buckets `bson:"counts"`
	// Told is, by window, the letter that told last that its limit was reached.
	Told map[string]string `bson:"told"`
	// Used is when it counted last; who is idle for longer than any window is removed.
	Used time.Time `bson:"used"`
}

// reached is the limit that another text would break, the one that keeps it waiting longest, and until when; ok is
// false where it breaks none.
func (m meter) reached(limits Limits, now time.Time) (l Limit, free time.Time, ok bool) {
	for _, one := range limits {
		b := m.Counts[one.name()]
		if one.sum(b, now) < one.Most {
			continue
		}
		if at := one.free(b, now); !ok || at.After(free) {
			l, free, ok = one, at, true
		}
	}
	return l, free, ok
}

// stale are the fields of buckets that count no more, those of windows that are no longer set included.
func (m meter) stale(now time.Time) []string {
	var out []string
	for window, b := range m.Counts {
		seconds, err := strconv.Atoi(strings.TrimPrefix(window, "w"))
		if err != nil || seconds <= 0 {
			out = append(out, "counts."+window)
			continue
		}
		for _, name := range (Limit{Window: time.Duration(seconds) * time.Second}).stale(b, now) {
			out = append(out, "counts."+window+"."+name)
		}
	}
	return out
}

// fields are the buckets in which a text of this time counts.
func (l Limits) fields(at time.Time) []string {
	var out []string
	for _, one := range l {
		out = append(out, "counts."+one.name()+"."+one.bucket(at))
	}
	return out
}

// stretch counts windows since the epoch: a limit that stays reached is told once in each.
func (l Limit) stretch(now time.Time) int64 { return now.UnixMilli() / l.Window.Milliseconds() }

// prefixOf is a number without its last four digits: the ten thousand numbers that an operator is given at once.
func prefixOf(e164 string) string { return e164[:max(len(e164)-4, 0)] }

// reasonOf is how a refusal by a guard is told.
func reasonOf(g contract.Guard) contract.Reason { return contract.Reason("limit_" + string(g)) }

// overLimit is the refusal of a guard.
func overLimit(g contract.Guard, wait time.Duration) *contract.Error {
	sentence := map[contract.Guard]string{
		contract.GuardPerson:     "Too many codes were sent. Please wait a few minutes, or sign in another way.",
		contract.GuardNumber:     "Too many codes were sent to this number. Please wait a while, or sign in another way.",
		contract.GuardPrefix:     "Too many codes were sent to numbers near this one. Please wait a while, or sign in another way.",
		contract.GuardNetwork:    "Too many codes were asked for from your network. Please wait a while, or sign in another way.",
		contract.GuardCountry:    "Too many codes were sent to numbers of this country. Please wait a while, or sign in another way.",
		contract.GuardPortal:     "Too many codes were sent. Please wait a while, or sign in another way.",
		contract.GuardConversion: "Text messages to numbers of this country are stopped for now. Please sign in another way, or try again later.",
		contract.GuardBudget:     "No more text messages are sent today. Please sign in another way, or try again tomorrow.",
	}[g]
	e := contract.Wait(contract.RateLimited, wait, "%s", sentence)
	e.Reason = reasonOf(g)
	return e
}
