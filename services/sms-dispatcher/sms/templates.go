package sms

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode"

	"github.com/nyaruka/phonenumbers"
)

// sentences are the texts of a language, the preferred first. A later one is shorter, or is spelled as telephones of the
// country have always spelled it, without the accents that the GSM alphabet lacks: one part then holds more of a name.
type sentences []string

// everywhere is said where nothing else is known or fits.
var everywhere = sentences{"{code} is your {portal} code."}

// languages are the sentences by language, and the regions that read it. All others read English.
var languages = []struct {
	regions string
	said    sentences
}{
	{"DE AT CH LI", sentences{"{code} ist Ihr Code für {portal}.", "Code {portal}: {code}."}},
	{"FR BE LU MC GP MQ GF RE YT PM BL MF NC PF WF MA DZ TN SN CI CM ML BF BJ TG NE GN CD CG GA MG", sentences{"{code} est votre code {portal}."}},
	{"ES MX AR CO CL PE EC VE UY PY BO CR PA GT HN NI SV DO CU PR", sentences{"{code} es su código de {portal}.", "{code} es su clave de {portal}."}},
	{"PT BR AO MZ CV", sentences{"{code} é o seu código {portal}.", "Codigo {portal}: {code}."}},
	{"IT SM VA", sentences{"{code} è il suo codice {portal}."}},
	{"NL SR AW CW", sentences{"{code} is uw code voor {portal}."}},
	{"PL", sentences{"Kod {portal}: {code}."}},
	{"SE AX", sentences{"{code} är din kod för {portal}."}},
	{"DK FO GL", sentences{"{code} er din kode til {portal}."}},
	{"NO SJ", sentences{"{code} er koden din for {portal}.", "Kode {portal}: {code}."}},
	{"FI", sentences{"{code} on koodisi palveluun {portal}.", "Koodi {portal}: {code}."}},
	{"CZ SK", sentences{"{code} je váš kód pro {portal}.", "Kod {portal}: {code}."}},
	{"HU", sentences{"{code} az Ön {portal} kódja.", "{portal} kod: {code}."}},
	{"RO MD", sentences{"{code} este codul {portal}."}},
	{"BG", sentences{"{code} е вашият код за {portal}.", "Код {portal}: {code}."}},
	{"HR BA RS ME", sentences{"{code} je vaš kod za {portal}.", "Kod za {portal}: {code}."}},
	{"SI", sentences{"Koda za {portal}: {code}."}},
	{"EE", sentences{"{code} on teie {portal} kood."}},
	{"LV", sentences{"{portal} kods: {code}."}},
	{"LT", sentences{"{portal} kodas: {code}."}},
	{"GR CY", sentences{"Ο κωδικός σας για {portal}: {code}.", "Κωδικός {portal}: {code}."}},
	{"TR", sentences{"{portal} kodunuz: {code}."}},
	{"RU BY KZ KG", sentences{"{code} – ваш код {portal}.", "Код {portal}: {code}."}},
	{"UA", sentences{"{code} – ваш код {portal}.", "Код {portal}: {code}."}},
	{"JP", sentences{"{portal}の認証コードは{code}です。", "{portal}認証コード：{code}"}},
	{"KR", sentences{"{portal} 인증번호는 {code}입니다.", "{portal} 인증번호 {code}"}},
	{"CN", sentences{"【{portal}】您的验证码是{code}。", "【{portal}】验证码{code}"}},
	{"TW HK MO", sentences{"您的{portal}驗證碼是{code}。", "{portal}驗證碼：{code}"}},
	{"TH", sentences{"{code} คือรหัส {portal} ของคุณ", "รหัส {portal}: {code}"}},
	{"VN", sentences{"{code} là mã {portal} của bạn.", "Ma {portal}: {code}."}},
	{"ID", sentences{"{code} adalah kode {portal} Anda.", "Kode {portal}: {code}."}},
	{"MY BN", sentences{"{code} ialah kod {portal} anda."}},
	{"AE SA EG JO KW QA BH OM IQ LB LY YE PS SY SD", sentences{"{code} هو رمزك في {portal}.", "رمز {portal}: {code}"}},
	{"IL", sentences{"{code} הוא הקוד שלך ל-{portal}.", "קוד {portal}: {code}"}},
}

// saidIn are the sentences by region.
var saidIn = func() map[string]sentences {
	out := make(map[string]sentences)
	for _, l := range languages {
		for region := range strings.FieldsSeq(l.regions) {
			out[region] = l.said
		}
	}
	return out
}()

// anyRegion is the key of an operator's sentence for all regions that have none of their own.
const anyRegion = "*"

// Templates are the operator's own sentences by region. The zero value leaves everything to ours.
type Templates struct {
	own      map[string]string
	problems []string
}

// UnmarshalText reads a JSON object such as {"DE": "{portal}: Ihr Code ist {code}", "*": "{code} is your {portal} code."}.
// What is wrong with it, Validate of the settings says.
func (t *Templates) UnmarshalText(raw []byte) error {
	*t = Templates{own: make(map[string]string)}
	d := json.NewDecoder(strings.NewReader(string(raw)))
	if err := t.read(d); err != nil {
		t.problems = append(t.problems, "must be a JSON object of regions and sentences")
		return nil
	}
	for _, region := range slices.Sorted(maps.Keys(t.own)) {
		if region != anyRegion && !phonenumbers.GetSupportedRegions()[region] {
			t.problems = append(t.problems, fmt.Sprintf("%q is no region", region))
		}
		for _, problem := range sentenceFaults(t.own[region]) {
			t.problems = append(t.problems, region+": "+problem)
		}
	}
	return nil
}

var errNoObject = errors.New("not an object of strings")

// read takes the object apart by hand, because json.Unmarshal lets a second entry silently take the first's place.
func (t *Templates) read(d *json.Decoder) error {
	if open, err := d.Token(); err != nil || open != json.Delim('{') {
		return errNoObject
	}
	for d.More() {
		key, err := d.Token()
		if err != nil {
			return err
		}
		var sentence string
		if err := d.Decode(&sentence); err != nil {
			return err
		}
		region := strings.ToUpper(strings.TrimSpace(fmt.Sprint(key)))
		if _, twice := t.own[region]; twice {
			t.problems = append(t.problems, region+": is there twice")
		}
		t.own[region] = sentence
	}
	if _, err := d.Token(); err != nil {
		return err
	}
	if d.More() {
		return errNoObject
	}
	return nil
}

// What a sentence must leave room for.
var (
	roomForName = strings.Repeat("n", shortestName)
	roomForHost = strings.Repeat("h", 30)
)

// sentenceFaults are what is wrong with an operator's sentence.
func sentenceFaults(sentence string) []string {
	var out []string
	if !strings.Contains(sentence, "{code}") {
		out = append(out, "{code} is missing")
	}
	if strings.ContainsAny(strings.NewReplacer("{code}", "", "{portal}", "").Replace(sentence), "{}") {
		out = append(out, "only {code} and {portal} may stand in braces")
	}
	if strings.Contains(sentence, "@") {
		out = append(out, "must not contain @, with which the last line begins")
	}
	switch {
	case strings.ContainsAny(sentence, "\r\n\u2028\u2029"):
		out = append(out, "must be one line")
	case strings.ContainsFunc(sentence, func(r rune) bool { return !unicode.IsPrint(r) }):
		out = append(out, "must hold printable characters only")
	}
	if !fits(compose(sentence, roomForName, roomForHost, "000000")) {
		out = append(out, fmt.Sprintf("is too long for one part with a name of %d characters and a host of %d", len(roomForName), len(roomForHost)))
	}
	return out
}

// of is the operator's sentence for a region, or "".
func (t Templates) of(region string) string {
	if own, ok := t.own[region]; ok {
		return own
	}
	return t.own[anyRegion]
}
