package sms

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"sallyport/pkg/contract"
)

// FuzzSettings reads anything as limits, stop, prices and senders. What is taken is within what is allowed, and reads the
// same once it is written down again; what is wrong is named by its setting.
func FuzzSettings(f *testing.F) {
	for _, seed := range [][4]string{
		{"5/10m,15/24h", "10%/50", "US=0.0075,GB=0.04", "GB=Northwind,US=+12065550100,CA=72345"},
		{"off", "off", "", ""},
		{"0/1m", "100%/1", "US=NaN", "US=Northwind"},
		{"1/1m,1/1m", "1%/0", "US=Inf,GB=-0", "GB=a,GB=b"},
		{"61/24h", "10/50", "XX=1", "GB=Northwind Portal"},
		{"5/10m", "99%/1", "us=1e2,gb=0x1p-2", "gb=12345,=x,FR"},
	} {
		f.Add(seed[0], seed[1], seed[2], seed[3])
	}
	f.Fuzz(func(t *testing.T, limit, stop, prices, senders string) {
		s := Settings{
			LimitPerson: limit, LimitNumber: limit, LimitPrefix: "off", LimitNetwork: "off", LimitCountry: "off", LimitPortal: "off",
			ConversionStop: stop, Prices: strings.Split(prices, ","),
		}
		if prices == "" {
			s.Prices = nil
		}
		g, problems := s.guards()
		wrong := strings.Join(problems, "\n")
		if !strings.Contains(wrong, "SMS_LIMIT_PERSON") {
			for _, l := range g.limits[contract.GuardPerson] {
				if l.Most < 1 || l.Most > mostPerson {
					t.Errorf("a person's limit %q is taken as %v", limit, l)
				}
			}
		}
		if !strings.Contains(wrong, "SMS_CONVERSION_STOP") {
			c := g.conversion
			if off := c == (Conversion{}); off != (strings.TrimSpace(stop) == "off") || !off && (c.Percent < 1 || c.Percent > 99 || c.Least < 1) {
				t.Errorf("the stop %q is taken as %+v", stop, c)
			}
			if again, err := parseConversion(fmt.Sprintf("%d%%/%d", c.Percent, c.Least)); c.Least > 0 && (err != nil || again != c) {
				t.Errorf("the stop %q is taken as %+v, and that as %+v, %v", stop, c, again, err)
			}
		}
		if !strings.Contains(wrong, "SMS_PRICES") {
			for country, usd := range g.prices {
				if math.IsNaN(usd) || usd < 0 || usd > 100 || len(Countries{country}.unknown()) > 0 {
					t.Errorf("of %q, %s costs %v", prices, country, usd)
				}
			}
		}
		var all Senders
		if err := all.UnmarshalText([]byte(senders)); err != nil {
			t.Fatal(err)
		}
		for region, sender := range all.by {
			if len(all.problems) == 0 && !isSenderName(sender) && !senderNumberShape.MatchString(sender) || len(all.problems) == 0 && numbersOnly[region] && isSenderName(sender) {
				t.Errorf("of %q, the texts to %s come from %q", senders, region, sender)
			}
		}
	})
}

// FuzzDeliveryCursor: a cursor that is taken is one that we give, and names one place.
func FuzzDeliveryCursor(f *testing.F) {
	for _, seed := range []string{cursorOf("2026-01-02T03:04:05.678Z/CH1"), cursorOf("20260102030405678/CH1"), "", "AA", "====", cursorOf("/"), strings.Repeat("A", 200)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, cursor string) {
		order, ok := orderAt(cursor)
		if !ok && order != "" {
			t.Errorf("%q is refused, and read as %q", cursor, order)
		}
		if ok && cursorOf(order) != cursor {
			t.Errorf("%q is read as %q, whose cursor is %q", cursor, order, cursorOf(order))
		}
	})
}
