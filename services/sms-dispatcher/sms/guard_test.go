package sms

import (
	"strings"
	"testing"
	"time"

	"sallyport/pkg/meter"
)

func TestRulesOfConversionAreRead(t *testing.T) {
	for text, want := range map[string]Conversion{"10%/50": {10, 50}, "off": {}} {
		if c, err := parseConversion(text); err != nil || c != want {
			t.Errorf("%q: %v, %v", text, c, err)
		}
	}
	for _, text := range []string{"", "10/50", "0%/50", "100%/50", "10%/0", "10%"} {
		if c, err := parseConversion(text); err == nil {
			t.Errorf("%q is read as %v", text, c)
		}
	}
}

func TestSettingsOfGuardsAreChecked(t *testing.T) {
	good := Settings{LimitPerson: "5/10m", LimitNumber: "off", LimitPrefix: "1/1m", LimitNetwork: "1/1m", LimitCountry: "1/1m", LimitPortal: "1/1m", ConversionStop: "10%/50"}
	if _, bad := good.guards(); bad != nil {
		t.Fatalf("%v", bad)
	}
	for name, change := range map[string]func(*Settings){
		"SMS_LIMIT_PERSON":    func(s *Settings) { s.LimitPerson = "101/24h" },
		"SMS_LIMIT_NUMBER":    func(s *Settings) { s.LimitNumber = "" },
		"SMS_LIMIT_PREFIX":    func(s *Settings) { s.LimitPrefix = "1" },
		"SMS_LIMIT_NETWORK":   func(s *Settings) { s.LimitNetwork = "1/1s" },
		"SMS_LIMIT_COUNTRY":   func(s *Settings) { s.LimitCountry = "a/1m" },
		"SMS_LIMIT_PORTAL":    func(s *Settings) { s.LimitPortal = "none" },
		"SMS_CONVERSION_STOP": func(s *Settings) { s.ConversionStop = "10" },
		"SMS_RECORD_ONLY":     func(s *Settings) { s.RecordOnly = []string{"numbers"} },
		"SMS_PRICES":          func(s *Settings) { s.Prices = []string{"GB=0.04", "XX=1"} },
	} {
		s := good
		change(&s)
		if _, bad := s.guards(); len(bad) != 1 || !strings.HasPrefix(bad[0], name+": ") {
			t.Errorf("%s: %v", name, bad)
		}
	}
}

func TestACountryIsStoppedForLongerEachTime(t *testing.T) {
	rule := Conversion{10, 50}
	for _, row := range []struct {
		sent, answered int
		want           bool
	}{{49, 0, false}, {50, 0, true}, {50, 4, true}, {50, 5, false}, {1000, 99, true}, {1000, 100, false}} {
		if got := rule.broken(row.sent, row.answered); got != row.want {
			t.Errorf("%d of %d: %v", row.answered, row.sent, got)
		}
	}
	if (Conversion{}).broken(1000, 0) {
		t.Error("a rule that is off stops")
	}
	now := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
	var c traffic
	for i, want := range []int{1, 2, 4, 8, 16, 24, 24} {
		rest := c.next(now)
		if rest != time.Duration(want)*time.Hour {
			t.Errorf("stop %d lasts %v", i+1, rest)
		}
		c.Stops, c.Rest, c.StoppedUntil = c.Stops+1, int64(rest.Seconds()), now.Add(rest)
		now = c.StoppedUntil.Add(meter.Day - time.Second)
	}
	if rest := c.next(c.StoppedUntil.Add(meter.Day)); rest != time.Hour {
		t.Errorf("after a quiet day a stop lasts %v", rest)
	}
}
