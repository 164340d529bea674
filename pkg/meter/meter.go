// Package meter answers: how often has this happened of late, and may it once more?
//
// A limit such as "5/10m,15/24h" holds in every stretch of time as long as its windows. What happens is counted in
// buckets, each a part of a window, so that a count is a few numbers in a document and counting is one atomic
// increment: see store.Meters.
//
// Everything here is a pure function of counts and a time.
package meter

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Day is the longest window.
const Day = 24 * time.Hour

// Limit allows Most of something in every stretch of time as long as Window.
type Limit struct {
	Most   int
	Window time.Duration
}

// Limits all hold at once. None of them is no limit.
type Limits []Limit

// Parse reads limits such as "5/10m,15/24h", or "off".
func Parse(text string) (Limits, error) {
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
		case w < time.Minute || w > Day || w%time.Minute != 0:
			return nil, fmt.Errorf("a window is whole minutes, at most 24h; not %q", part)
		case slices.ContainsFunc(out, func(o Limit) bool { return o.Window == w }):
			return nil, fmt.Errorf("there are two limits for the same window, %q is the second", part)
		}
		out = append(out, Limit{n, w})
	}
	return out, nil
}

// Buckets count by the part of a window in which something happened. The keys are a letter and a number that grows with
// time, so that a name is a name and never a place in a list.
type Buckets map[string]int

// parts is into how many buckets a window is cut. What happens counts until the last moment of its bucket is a window
// old, so a limit is never broken and at most one part too strict.
func (l Limit) parts() int64 {
	if l.Window <= time.Hour {
		return 10
	}
	return 24
}

func (l Limit) width() time.Duration { return l.Window / time.Duration(l.parts()) }

// Name is that of the buckets of a window: limits with other windows keep others.
func (l Limit) Name() string { return fmt.Sprintf("w%d", int(l.Window.Seconds())) }

func (l Limit) number(at time.Time) int64 { return at.UnixMilli() / l.width().Milliseconds() }

// Bucket is where something of this time counts.
func (l Limit) Bucket(at time.Time) string { return "b" + strconv.FormatInt(l.number(at), 10) }

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

// Sum is how many count now. What was given back twice makes no room for others: a bucket is never below none.
func (l Limit) Sum(b Buckets, now time.Time) int {
	oldest, sum := l.oldest(now), 0
	for name, n := range b {
		if numberOf(name) >= oldest {
			sum += max(n, 0)
		}
	}
	return sum
}

// Free is when another one is within the limit again, if no more come.
func (l Limit) Free(b Buckets, now time.Time) time.Time {
	oldest, left := l.oldest(now), l.Sum(b, now)
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

// Stale are the buckets that count no more.
func (l Limit) Stale(b Buckets, now time.Time) []string {
	var out []string
	for name := range b {
		if numberOf(name) < l.oldest(now) {
			out = append(out, name)
		}
	}
	return out
}

// Stretch counts windows since the epoch: a limit that stays reached is told once in each.
func (l Limit) Stretch(now time.Time) int64 { return now.UnixMilli() / l.Window.Milliseconds() }

// Counts are the buckets of each window, by its name.
type Counts map[string]Buckets

// Reached is the limit that another one would break, the one that keeps it waiting longest, and until when; ok is
// false where it breaks none.
func (c Counts) Reached(limits Limits, now time.Time) (l Limit, free time.Time, ok bool) {
	for _, one := range limits {
		b := c[one.Name()]
		if one.Sum(b, now) < one.Most {
			continue
		}
		if at := one.Free(b, now); !ok || at.After(free) {
			l, free, ok = one, at, true
		}
	}
	return l, free, ok
}

// Any tells whether anything counts now.
func (c Counts) Any(now time.Time) bool {
	for window, b := range c {
		if l, ok := windowOf(window); ok && l.Sum(b, now) > 0 {
			return true
		}
	}
	return false
}

// windowOf is the window of a name; false for one that is none of ours.
func windowOf(name string) (Limit, bool) {
	seconds, err := strconv.Atoi(strings.TrimPrefix(name, "w"))
	return Limit{Window: time.Duration(seconds) * time.Second}, err == nil && seconds > 0
}

// Stale are the paths of what counts no more, "w600.b2946218" or a whole window that is none: windows that are no longer
// set included.
func (c Counts) Stale(now time.Time) []string {
	var out []string
	for window, b := range c {
		l, ok := windowOf(window)
		if !ok {
			out = append(out, window)
			continue
		}
		for _, name := range l.Stale(b, now) {
			out = append(out, window+"."+name)
		}
	}
	return out
}

// Paths are the buckets in which something of this time counts, "w600.b2946218".
func (l Limits) Paths(at time.Time) []string {
	var out []string
	for _, one := range l {
		out = append(out, one.Name()+"."+one.Bucket(at))
	}
	return out
}

// Add counts n at this time, as the store does in a document: for simulations and models.
func (c Counts) Add(limits Limits, at time.Time, n int) {
	for _, l := range limits {
		if c[l.Name()] == nil {
			c[l.Name()] = make(Buckets)
		}
		c[l.Name()][l.Bucket(at)] += n
	}
}
