package sms

import (
	"fmt"
	"maps"
	"regexp"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/sns/types"
	"github.com/nyaruka/phonenumbers"
)

var (
	senderNameShape   = regexp.MustCompile(`^[A-Za-z0-9]{1,11}$`)
	senderNumberShape = regexp.MustCompile(`^\+?[0-9]{5,15}$`)
	anyLetter         = regexp.MustCompile(`[A-Za-z]`)
)

// isSenderName tells whether a carrier can show this as who sent a text.
func isSenderName(s string) bool { return senderNameShape.MatchString(s) && anyLetter.MatchString(s) }

// numbersOnly are the regions whose carriers show a number and never a name.
var numbersOnly = map[string]bool{"US": true, "CA": true, "PR": true}

// Senders are who a text comes from, by region: a name, or one of our own numbers or short codes.
type Senders struct {
	by       map[string]string
	problems []string
}

// UnmarshalText reads a list such as "GB=Northwind,US=+12065550100,CA=72345". What is wrong with it, Validate of the
// settings says.
func (s *Senders) UnmarshalText(text []byte) error {
	*s = Senders{by: make(map[string]string)}
	for part := range strings.SplitSeq(string(text), ",") {
		if strings.TrimSpace(part) == "" {
			continue
		}
		region, sender, ok := strings.Cut(part, "=")
		region, sender = strings.ToUpper(strings.TrimSpace(region)), strings.TrimSpace(sender)
		_, twice := s.by[region]
		switch {
		case !ok:
			s.problems = append(s.problems, fmt.Sprintf("%q is not of the form GB=Northwind", strings.TrimSpace(part)))
			continue
		case !phonenumbers.GetSupportedRegions()[region]:
			s.problems = append(s.problems, fmt.Sprintf("%q is no region", region))
		case twice:
			s.problems = append(s.problems, region+": is there twice")
		case isSenderName(sender) && numbersOnly[region]:
			s.problems = append(s.problems, region+": carriers there show no names; give one of your numbers or short codes")
		case !isSenderName(sender) && !senderNumberShape.MatchString(sender):
			s.problems = append(s.problems, region+": must be a name of 1 to 11 letters and digits, or a number of 5 to 15 digits")
		}
		s.by[region] = sender
	}
	return nil
}

// attributes are those of every text, and who a text to a region comes from. name is the sender's where a region has
// none of its own and its carriers show names.
func (s Senders) attributes(region, name string, always map[string]types.MessageAttributeValue) map[string]types.MessageAttributeValue {
	sender := s.by[region]
	if sender == "" && !numbersOnly[region] {
		sender = name
	}
	if sender == "" {
		return always
	}
	out := maps.Clone(always)
	if isSenderName(sender) {
		out["AWS.SNS.SMS.SenderID"] = attribute("String", sender)
	} else {
		out["AWS.MM.SMS.OriginationNumber"] = attribute("String", sender)
	}
	return out
}
