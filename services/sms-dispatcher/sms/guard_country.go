package sms

import (
	"errors"
	"strconv"
	"strings"
	"time"

	"sallyport/pkg/meter"
)

// Conversion stops a country when, of at least Least texts that were handed over and whose codes are over, less than
// Percent in a hundred were answered. Least zero is no stop.
type Conversion struct {
	Percent, Least int
}

// parseConversion reads a rule such as "10%/50", or "off".
func parseConversion(text string) (Conversion, error) {
	if strings.TrimSpace(text) == "off" {
		return Conversion{}, nil
	}
	percent, least, ok := strings.Cut(strings.TrimSpace(text), "%/")
	p, perr := strconv.Atoi(percent)
	n, nerr := strconv.Atoi(least)
	if !ok || perr != nil || nerr != nil || p < 1 || p > 99 || n < 1 {
		return Conversion{}, errors.New("must be a rule such as 10%/50, or off")
	}
	return Conversion{p, n}, nil
}

// broken tells whether too few of these texts were answered.
func (c Conversion) broken(sent, answered int) bool {
	return c.Least > 0 && sent >= c.Least && answered*100 < c.Percent*sent
}

const (
	// firstStop is how long a country is stopped; longer each time, up to longestStop, if it comes again within a day.
	firstStop   = time.Hour
	longestStop = meter.Day
)

// hours are the buckets of texts that are over.
var hours = meter.Limit{Window: meter.Day}

// traffic is how the texts of one portal to one country fare. Its _id is portal "/" country.
type traffic struct {
	ID      string `bson:"_id"`
	Portal  string `bson:"portal"`
	Country string `bson:"country"`
	// Sent counts texts that were handed over and whose code is over, Answered those of them whose code was typed.
	Sent     meter.Buckets `bson:"sent"`
	Answered meter.Buckets `bson:"answered"`
	// Since: texts that were asked for earlier do not count, so that a stop is not followed by another for the same texts.
	Since time.Time `bson:"since"`
	// Stops counts them; a new one is written under the condition that it is still what it was decided from.
	Stops        int64     `bson:"stops"`
	StoppedUntil time.Time `bson:"stopped_until"`
	// Rest is how long the last stop was meant to last, in seconds.
	Rest int64 `bson:"rest"`
	// LedSent and LedAnswered are what led to the last stop.
	LedSent     int `bson:"led_sent"`
	LedAnswered int `bson:"led_answered"`
	// Recorded: the last stop stopped nothing, because the guard only records.
	Recorded bool `bson:"recorded"`
}

// fared counts the texts of the last 24 hours.
func (t traffic) fared(now time.Time) (sent, answered int) {
	return hours.Sum(t.Sent, now), hours.Sum(t.Answered, now)
}

func (t traffic) stopped(now time.Time) bool { return now.Before(t.StoppedUntil) }

// next is how long a stop that begins now lasts.
func (t traffic) next(now time.Time) time.Duration {
	if t.Stops == 0 || now.Sub(t.StoppedUntil) >= meter.Day {
		return firstStop
	}
	return min(2*time.Duration(t.Rest)*time.Second, longestStop)
}

// stale are the fields of hours that count no more.
func (t traffic) stale(now time.Time) []string {
	var out []string
	for _, name := range hours.Stale(t.Sent, now) {
		out = append(out, "sent."+name)
	}
	for _, name := range hours.Stale(t.Answered, now) {
		out = append(out, "answered."+name)
	}
	return out
}
