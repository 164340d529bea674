package sms

import (
	"strings"
	"testing"

	"sallyport/pkg/contract"
)

func TestSendersAreChecked(t *testing.T) {
	for raw, want := range map[string]string{
		"": "", " gb = Northwind , US=+12065550100,CA=72345,": "",
		"GB":                  `"GB" is not of the form GB=Northwind`,
		"ZZ=Northwind":        `"ZZ" is no region`,
		"GB=A,gb=B":           "GB: is there twice",
		"US=Northwind":        "US: carriers there show no names; give one of your numbers or short codes",
		"GB=much too long":    "GB: must be a name of 1 to 11 letters and digits, or a number of 5 to 15 digits",
		"GB=1234,FR=+":        "GB: must be a name of 1 to 11 letters and digits, or a number of 5 to 15 digits; FR: must be a name of 1 to 11 letters and digits, or a number of 5 to 15 digits",
		"GB=":                 "GB: must be a name of 1 to 11 letters and digits, or a number of 5 to 15 digits",
		"GB=+44 7400 123 456": "GB: must be a name of 1 to 11 letters and digits, or a number of 5 to 15 digits",
	} {
		var s Senders
		if err := s.UnmarshalText([]byte(raw)); err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(s.problems, "; "); got != want {
			t.Errorf("%q: %q, want %q", raw, got, want)
		}
	}
}

// Every country is texted from its own sender and in its own words, as SNS sees it.
func TestB27SenderAndWordsOfEachCountry(t *testing.T) {
	w := newWorld(t)
	w.start("SMS_COUNTRIES", "US,CA,GB,DE,FR", "SMS_SENDER_ID", "Sallyport", "SMS_SENDERS", "GB=Northwind,US=+12065550100,DE=72345",
		"SMS_TEMPLATES", `{"FR":"{portal} : {code}"}`, "SMS_MAX_PRICE_USD", "0.05")
	for i, c := range []struct{ to, name, number, said string }{
		{"+17015559443", "", "+12065550100", " is your Northwind Portal code."},
		{"+16135550123", "", "", " is your Northwind Portal code."}, // Canada knows no names
		{"+447400123456", "Northwind", "", " is your Northwind Portal code."},
		{"+4915123456789", "", "72345", " ist Ihr Code für Northwind Portal."},
		{"+33612345678", "Sallyport", "", "Northwind Portal : "},
	} {
		p := w.person("u"+string(rune('a'+i)), c.to)
		p.ask("c"+string(rune('a'+i)), contract.ForEnrolment, c.to)
		p.next(0)
		m := w.inbox(c.to)[0]
		a := m.Attributes
		if a["AWS.SNS.SMS.SenderID"] != c.name || a["AWS.MM.SMS.OriginationNumber"] != c.number {
			t.Errorf("to %s: attributes %v", c.to, a)
		}
		if a["AWS.SNS.SMS.SMSType"] != "Transactional" || a["AWS.SNS.SMS.MaxPrice"] != "0.05" {
			t.Errorf("to %s: attributes %v", c.to, a)
		}
		if !strings.Contains(m.Body, c.said) {
			t.Errorf("to %s: %q, want %q", c.to, m.Body, c.said)
		}
	}
}
