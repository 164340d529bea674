package sms

import (
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"sallyport/pkg/contract"
	"sallyport/pkg/secret"
)

// longestPhone bounds what a person may type: fifteen digits with something between each two of them.
const longestPhone = 40

// Countries are the regions (ISO 3166-1 alpha-2) that may be texted. An empty list allows none.
type Countries []string

// UnmarshalText reads a list such as "US,CA,GB".
func (c *Countries) UnmarshalText(text []byte) error {
	*c = nil
	for part := range strings.SplitSeq(string(text), ",") {
		if part = strings.ToUpper(strings.TrimSpace(part)); part != "" && !slices.Contains(*c, part) {
			*c = append(*c, part)
		}
	}
	return nil
}

// unknown lists what is no region with telephone numbers.
func (c Countries) unknown() []string {
	var out []string
	for _, region := range c {
		if !phonenumbers.GetSupportedRegions()[region] {
			out = append(out, region)
		}
	}
	return out
}

// parsePhone turns a mobile number, in any usual way of writing it, into E.164. A number without a country code is
// read as one of the allowed countries, in their order. The refusal says why, and never repeats the number.
func parsePhone(typed string, allowed Countries) (string, *contract.Error) {
	if len(typed) > longestPhone || strings.ContainsFunc(typed, func(r rune) bool { return r < ' ' || r == ';' || r == '=' }) {
		return "", badPhone(contract.PhoneNotANumber, "This is not a telephone number.")
	}
	var refusal *contract.Error
	for _, region := range allowed {
		e164, err := parseIn(typed, region, allowed)
		if err == nil {
			return e164, nil
		}
		if refusal == nil {
			refusal = err
		}
	}
	if refusal == nil {
		refusal = badPhone(contract.PhoneCountry, "Text messages are not available here.")
	}
	return "", refusal
}

// ParseNumber reads a number that was confirmed elsewhere: with its country code, or as somebody in the given region
// (ISO 3166-1 alpha-2) writes it. allowed are the countries that may be texted; nil allows all that have telephones. The
// refusal never repeats the number.
func ParseNumber(typed, region string, allowed Countries) (secret.String, *contract.Error) {
	if len(typed) > longestPhone || strings.ContainsFunc(typed, func(r rune) bool { return r < ' ' || r == ';' || r == '=' }) {
		return secret.String{}, badPhone(contract.PhoneNotANumber, "This is not a telephone number.")
	}
	if region == "" {
		region = "ZZ" // nowhere: the number must have its country code
	} else if !phonenumbers.GetSupportedRegions()[region] {
		e := badPhone(contract.PhoneCountry, "The region must be a country's two capital letters, such as US.")
		e.Field = "phone_region"
		return secret.String{}, e
	}
	if allowed == nil {
		for known := range phonenumbers.GetSupportedRegions() {
			allowed = append(allowed, known)
		}
	}
	e164, refusal := parseIn(typed, region, allowed)
	return secret.New(e164), refusal
}

// parseIn reads a number as somebody in the given region writes it.
func parseIn(typed, region string, allowed Countries) (string, *contract.Error) {
	n, err := phonenumbers.Parse(typed, region)
	if err != nil {
		return "", badPhone(contract.PhoneNotANumber, "This is not a telephone number. Please type it with its country code, such as +1 701 555 0123.")
	}
	switch n.GetCountryCode() {
	case 870, 881, 882, 883:
		return "", badPhone(contract.PhoneKind, "Satellite and international network numbers cannot be used. Please use a mobile number.")
	}
	if n.GetExtension() != "" {
		return "", badPhone(contract.PhoneKind, "A number with an extension cannot receive text messages. Please use a mobile number.")
	}
	if !phonenumbers.IsValidNumber(n) {
		return "", badPhone(contract.PhoneNotANumber, "No telephone has this number. Please check the digits and the country code.")
	}
	// The type comes first: of a premium number the price matters, not the country.
	switch phonenumbers.GetNumberType(n) {
	case phonenumbers.MOBILE, phonenumbers.FIXED_LINE_OR_MOBILE:
	case phonenumbers.PREMIUM_RATE, phonenumbers.SHARED_COST:
		return "", badPhone(contract.PhoneKind, "Premium and shared-cost numbers cannot be used. Please use a mobile number.")
	case phonenumbers.TOLL_FREE:
		return "", badPhone(contract.PhoneKind, "Toll-free numbers cannot be used. Please use a mobile number.")
	case phonenumbers.FIXED_LINE:
		return "", badPhone(contract.PhoneKind, "This is a landline number, which cannot receive text messages. Please use a mobile number.")
	default: // pagers, voice mail, Internet telephony, personal and company-wide numbers
		return "", badPhone(contract.PhoneKind, "This is not a mobile number. Please use one that receives text messages.")
	}
	if !slices.Contains(allowed, phonenumbers.GetRegionCodeForNumber(n)) {
		return "", badPhone(contract.PhoneCountry, "Numbers of this country cannot be used here.")
	}
	return phonenumbers.Format(n, phonenumbers.E164), nil
}

// regionOf is the region of a number in E.164; "" if it is not known.
func regionOf(e164 string) string {
	n, err := phonenumbers.Parse(e164, "")
	if err != nil {
		return ""
	}
	if region := phonenumbers.GetRegionCodeForNumber(n); phonenumbers.GetSupportedRegions()[region] {
		return region
	}
	return ""
}

func badPhone(why contract.Reason, sentence string) *contract.Error {
	e := contract.Refuse(contract.InvalidRequest, "%s", sentence)
	e.Field, e.Reason = "phone", why
	return e
}
