package sms

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"sallyport/pkg/contract"
	"sallyport/pkg/meter"
)

// guards are the rules against abuse, as they are set.
type guards struct {
	limits     map[contract.Guard]meter.Limits
	conversion Conversion
	// recorded are those that only record.
	recorded map[contract.Guard]bool
	// prices are what a text costs, by country, in dollars.
	prices map[string]float64
}

// guards reads the rules, and says what is wrong with them.
func (s Settings) guards() (guards, []string) {
	g := guards{limits: make(map[contract.Guard]meter.Limits), recorded: make(map[contract.Guard]bool), prices: make(map[string]float64)}
	var problems []string
	add := func(name string, err error) {
		if err != nil {
			problems = append(problems, fmt.Sprintf("%s: %v", name, err))
		}
	}
	for _, one := range []struct {
		name, text string
		guard      contract.Guard
	}{
		{"SMS_LIMIT_PERSON", s.LimitPerson, contract.GuardPerson},
		{"SMS_LIMIT_NUMBER", s.LimitNumber, contract.GuardNumber},
		{"SMS_LIMIT_PREFIX", s.LimitPrefix, contract.GuardPrefix},
		{"SMS_LIMIT_NETWORK", s.LimitNetwork, contract.GuardNetwork},
		{"SMS_LIMIT_COUNTRY", s.LimitCountry, contract.GuardCountry},
		{"SMS_LIMIT_PORTAL", s.LimitPortal, contract.GuardPortal},
	} {
		limits, err := meter.Parse(one.text)
		if one.guard == contract.GuardPerson && slices.ContainsFunc(limits, func(l meter.Limit) bool { return l.Most > mostPerson }) {
			err = fmt.Errorf("a person's limit is at most %d", mostPerson)
		}
		add(one.name, err)
		g.limits[one.guard] = limits
	}
	var err error
	g.conversion, err = parseConversion(s.ConversionStop)
	add("SMS_CONVERSION_STOP", err)
	for _, name := range s.RecordOnly {
		guard := contract.Guard(strings.ToLower(strings.TrimSpace(name)))
		if !slices.Contains(contract.Guards(), guard) {
			add("SMS_RECORD_ONLY", fmt.Errorf("%q is none of %v", name, contract.Guards()))
		}
		g.recorded[guard] = true
	}
	for _, part := range s.Prices {
		country, price, _ := strings.Cut(strings.TrimSpace(part), "=")
		usd, err := strconv.ParseFloat(price, 64)
		country = strings.ToUpper(country)
		if err != nil || !(usd >= 0 && usd <= 100) || len(Countries{country}.unknown()) > 0 {
			add("SMS_PRICES", fmt.Errorf("%q is no price of a country such as GB=0.04", part))
		}
		g.prices[country] = usd
	}
	return g, problems
}

// usualGuards are those of the default settings, for who works without any.
func usualGuards() guards {
	return guards{limits: map[contract.Guard]meter.Limits{contract.GuardPerson: usualPerson}}
}

// otherCountry is the label of every country that is not listed, so that the labels are a closed set.
const otherCountry = "other"

// label is the name of a country in metrics.
func (c Countries) label(country string) string {
	if slices.Contains(c, country) {
		return country
	}
	return otherCountry
}

// labels are all of them.
func (c Countries) labels() []string { return append(slices.Clone(c), otherCountry) }
