package sms

import (
	"bytes"
	"errors"
	"io"
	"math"
	"strings"
	"testing"
	"time"
	"unicode/utf16"

	"pgregory.net/rapid"

	"sallyport/pkg/contract"
	"sallyport/pkg/meter"
	"sallyport/pkg/secret"
)

func TestB19AnyUsualWayOfWritingANumber(t *testing.T) {
	for _, c := range []struct{ typed, countries, want string }{
		{"+17015559443", "US", "+17015559443"},
		{"701-555-9443", "US", "+17015559443"},
		{"(701) 555-9443", "US,GB", "+17015559443"},
		{"1 701 555 9443", "US", "+17015559443"},
		{"701.555.9443", "US", "+17015559443"},
		{" 701 555 9443 ", "US", "+17015559443"},
		{"+1 (701) 555-9443", "GB,US", "+17015559443"},
		{"tel:+1-701-555-9443", "US", "+17015559443"},
		{"011 44 7400 123456", "US,GB", "+447400123456"},
		{"07400 123456", "GB", "+447400123456"},
		{"07400 123456", "US,CA,GB", "+447400123456"},
		{"+44 (0)7400 123456", "US,GB", "+447400123456"},
		{"0044 7400 123456", "US,GB", "+447400123456"},
		{"00 1 701 555 9443", "GB,US", "+17015559443"},
		{"416 555 0123", "CA,US", "+14165550123"},
		{"0171 1234567", "DE", "+491711234567"},
		{"+49 171 1234567", "us, de", "+491711234567"},
	} {
		got, refusal := parsePhone(c.typed, countries(t, c.countries))
		if refusal != nil || got != c.want {
			t.Errorf("parsePhone(%q, %s) = %q, %v; want %q", c.typed, c.countries, got, refusal, c.want)
		}
	}
}

func TestB19UnusableNumbersAreRefusedWithTheReason(t *testing.T) {
	for _, c := range []struct{ typed, countries, reason string }{
		{"", "US", "not a telephone number"},
		{"hello", "US", "not a telephone number"},
		{"12", "US", "No telephone"},
		{"701 555 944", "US", "No telephone"},
		{"+1 701 555 94433333", "US", "No telephone"},
		{strings.Repeat("7", 41), "US", "not a telephone number"},
		{"701 555\n9443", "US", "not a telephone number"},
		{"tel:5559443;phone-context=+1701", "US", "not a telephone number"},
		{"701 555 9443 ext. 12", "US", "extension"},
		{"+44 7400 123456", "US,CA", "country"},
		{"+1 876 555 0123", "US", "country"}, // Jamaica shares the country code
		{"+1 416 555 0123", "US", "country"}, // Canada too
		{"+1 900 555 0123", "US", "Premium"},
		{"+44 909 879 0123", "GB", "Premium"},
		{"+44 844 412 3456", "GB", "shared-cost"},
		{"1-800-555-0199", "US", "Toll-free"},
		{"+44 20 7946 0018", "GB", "landline"},
		{"+44 55 1234 5678", "GB", "not a mobile"}, // company-wide
		{"+44 76 4012 3456", "GB", "not a mobile"}, // pager
		{"+44 70 1234 5678", "GB", "not a mobile"}, // personal number
		{"+44 56 1234 5678", "GB", "not a mobile"}, // Internet telephony
		{"+881 6 1234 5678", "US", "Satellite"},
		{"+870 773 123 456", "US", "Satellite"},
		{"+883 5100 1234 5678", "US", "Satellite"},
		{"911", "US", "No telephone"},
		{"+17015559443", "", "not available"},
	} {
		got, refusal := parsePhone(c.typed, countries(t, c.countries))
		if refusal == nil {
			t.Errorf("parsePhone(%q, %s) = %q, want a refusal", c.typed, c.countries, got)
			continue
		}
		if refusal.Code != contract.InvalidRequest || refusal.Field != "phone" || !strings.Contains(refusal.Detail, c.reason) {
			t.Errorf("parsePhone(%q, %s) is refused with %+v, want %q", c.typed, c.countries, refusal, c.reason)
		}
	}
}

func countries(tb testing.TB, list string) Countries {
	tb.Helper()
	var c Countries
	if err := c.UnmarshalText([]byte(list)); err != nil {
		tb.Fatal(err)
	}
	if bad := c.unknown(); len(bad) > 0 {
		tb.Fatalf("unknown regions %v", bad)
	}
	return c
}

func FuzzPhone(f *testing.F) {
	for _, s := range []string{"+17015559443", "(701) 555-9443", "07400 123456", "+881612345678", "tel:911;phone-context=+1", "١٢٣٤٥", "1-800-FLOWERS", "+", "++1", "1 x 2"} {
		f.Add(s)
	}
	allowed := countries(f, "US,CA,GB,DE")
	f.Fuzz(func(t *testing.T, typed string) {
		got, refusal := parsePhone(typed, allowed)
		if (refusal == nil) == (got == "") {
			t.Fatalf("%q: %q and %v", typed, got, refusal)
		}
		if refusal != nil {
			// The example of a refusal is no number of anybody's.
			said := strings.ReplaceAll(refusal.Detail, "+1 701 555 0123", "")
			if digits := strings.Map(onlyDigits, typed); len(digits) > 6 && strings.Contains(strings.Map(onlyDigits, said), digits) {
				t.Fatalf("the refusal repeats %q: %s", typed, refusal.Detail)
			}
			return
		}
		if len(got) < 8 || len(got) > 16 || got[0] != '+' || strings.Trim(got[1:], "0123456789") != "" {
			t.Fatalf("%q became %q, which is not E.164", typed, got)
		}
		if again, refusal := parsePhone(got, allowed); refusal != nil || again != got {
			t.Fatalf("%q became %q, and that %q, %v", typed, got, again, refusal)
		}
	})
}

func onlyDigits(r rune) rune {
	if r < '0' || r > '9' {
		return -1
	}
	return r
}

func TestB23OnlyTheLastFourDigitsAreShown(t *testing.T) {
	if got := mask(last4("+17015559443")); got != "xxx-xxx-9443" {
		t.Error(got)
	}
}

// builtIn are the sentences where an operator has none of their own.
var builtIn Templates

func TestB27TheText(t *testing.T) {
	for _, c := range []struct{ portal, host, want string }{
		{"Northwind Portal", "portal.northwind.test", "012345 is your Northwind Portal code.\n@portal.northwind.test #012345"},
		{"  Two\tspaces\n@evil.test #999999 ", "a.test", "012345 is your Two spaces @evil.test #999999 code.\n@a.test #012345"},
		{"", "a.test", "012345 is your code.\n@a.test #012345"},
		{"Übergröße & Söhne €", "a.test", "012345 is your Übergröße & Söhne € code.\n@a.test #012345"},
		{"Łódź", "portal.lodz.test", "012345 is your Łódź code.\n@portal.lodz.test #012345"},
		{"ポータル", "a.test", "012345 is your ポータル code.\n@a.test #012345"},
		// The name gives way to the host line, never the other way round.
		{"Żabka Polska Spółka z ograniczoną odpowiedzialnością", "portal.zabka.test", "012345 is your Żabka Polska Spółka z code.\n@portal.zabka.test #012345"},
		{"Żabka Polska", "a-rather-long-host-name.customers.zabka.test", "012345 is your abka Polska code.\n@a-rather-long-host-name.customers.zabka.test #012345"},
		{"ポータル", strings.Repeat("h", 90), "012345 is your code.\n@" + strings.Repeat("h", 90) + " #012345"},
	} {
		if got := builtIn.text("", c.portal, c.host, secret.New("012345")).Reveal(); got != c.want {
			t.Errorf("text(%q, %q) =\n%q, want\n%q", c.portal, c.host, got, c.want)
		}
	}
}

func TestB27TheTextIsOnePartWhateverTheName(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("aé€Ł漢😀[ ")), 0, 200, -1)).Draw(t, "name")
		host := rapid.StringMatching(`[a-z0-9.-]{1,100}`).Draw(t, "host")
		got := builtIn.text("", name, host, secret.New("000042")).Reveal()
		gsm, total := true, 0
		for _, r := range got {
			n := septets(r)
			gsm, total = gsm && n > 0, total+n
		}
		if gsm && total > 160 || !gsm && len(utf16.Encode([]rune(got))) > 70 {
			t.Fatalf("more than one part: %q", got)
		}
		if !strings.HasPrefix(got, "000042 is your ") || !strings.HasSuffix(got, "\n@"+host+" #000042") || strings.Count(got, "\n") != 1 {
			t.Fatalf("not our text: %q", got)
		}
	})
}

func TestClassify(t *testing.T) {
	for _, c := range []struct {
		a      answer
		class  class
		reason contract.FailureReason
	}{
		{answer{Status: 200}, wasSent, ""},
		{answer{Status: 400, Code: "Throttling"}, notSent, ""},
		{answer{Status: 429, Code: "Throttled"}, notSent, ""},
		{answer{Status: 503, Code: "SlowDown"}, notSent, ""},
		{answer{Status: 429, Code: "SomethingNew"}, notSent, ""},
		{answer{Status: 429}, notSent, ""},
		{answer{Reach: reachedNobody}, notSent, ""},
		{answer{Status: 500, Code: "InternalError"}, ambiguous, ""},
		{answer{Status: 500, Code: "InternalFailure"}, ambiguous, ""},
		{answer{Status: 503, Code: "ServiceUnavailable"}, ambiguous, ""},
		{answer{Status: 502}, ambiguous, ""},
		{answer{Status: 504}, ambiguous, ""},
		{answer{Reach: reachedSNS}, ambiguous, ""}, // time-out, reset after write, an answer that is none
		{answer{Status: 400, Code: "NeverHeardOf"}, ambiguous, ""},
		{answer{Status: 400, Code: "unknown"}, ambiguous, ""},
		{answer{Status: 404, Code: "NotFound"}, ambiguous, ""},
		{answer{Status: 400, Code: "InvalidParameter"}, permanent, contract.ReasonInvalidNumber},
		{answer{Status: 400, Code: "ParameterValueInvalid"}, permanent, contract.ReasonInvalidNumber},
		{answer{Status: 400, Code: "OptedOut"}, permanent, contract.ReasonOptedOut},
		{answer{Status: 403, Code: "InvalidClientTokenId"}, ours, ""},
		{answer{Status: 403, Code: "SignatureDoesNotMatch"}, ours, ""},
		{answer{Status: 403, Code: "AuthorizationError"}, ours, ""},
		{answer{Status: 403, Code: "ExpiredToken"}, ours, ""},
		{answer{Status: 403, Code: "SomethingNew"}, ours, ""},
		{answer{Status: 401}, ours, ""},
		{answer{Status: 400, Code: "SMSSpendLimitExceeded"}, ours, ""},
		{answer{Reach: reachedNothing}, ours, ""},
	} {
		if class, reason := classify(c.a); class != c.class || reason != c.reason {
			t.Errorf("classify(%+v) = %s %s, want %s %s", c.a, class, reason, c.class, c.reason)
		}
	}
}

// The whole table: each code under each status. What a code says counts; a status alone counts where no code is known.
func TestEachCodeUnderEachStatus(t *testing.T) {
	want := map[string]string{}
	for verdict, codes := range map[string]string{
		"not_sent": `Throttled ThrottledException Throttling ThrottlingException RequestThrottled RequestThrottledException RequestLimitExceeded
			TooManyRequests TooManyRequestsException LimitExceededException BandwidthLimitExceeded SlowDown PriorRequestNotComplete
			EC2ThrottledException ProvisionedThroughputExceededException KMSThrottling`,
		"permanent invalid_number": `InvalidParameter InvalidParameterException InvalidParameterValue InvalidParameterValueException
			ParameterValueInvalid ValidationError ValidationException`,
		"permanent opted_out": `OptedOut OptedOutException`,
		"ours": `InvalidClientTokenId InvalidAccessKeyId UnrecognizedClientException ExpiredToken ExpiredTokenException MissingAuthenticationToken
			MissingAuthenticationTokenException InvalidToken TokenRefreshRequired AuthorizationError AuthorizationErrorException AccessDenied
			AccessDeniedException NotAuthorized AuthFailure OptInRequired KMSAccessDenied KMSDisabled KMSInvalidState KMSNotFound KMSOptInRequired
			InvalidAction SignatureDoesNotMatch InvalidSignatureException IncompleteSignature InvalidSecurity InvalidSecurityException RequestExpired
			RequestTimeTooSkewed InvalidClientTokenIdException SMSSpendLimitExceeded SpendLimitExceeded MonthlySpendLimitExceeded
			MonthlySpendLimitReached ServiceQuotaExceededException QuotaExceeded`,
		// SNS's own faults, and those that no text can cause: whether it was sent is not known.
		"ambiguous": `InternalError InternalFailure InternalErrorException ServiceUnavailable RequestTimeout RequestTimeoutException
			RequestAbortedException RequestEntityTooLargeException MalformedHttpRequestException UnknownOperationException NotFound
			EndpointDisabled PlatformApplicationDisabled unknown NeverHeardOf`,
	} {
		for code := range strings.FieldsSeq(codes) {
			want[code] = verdict
		}
	}
	for code := range byCode {
		if want[code] == "" || want[code] == "ambiguous" {
			t.Errorf("%s is in the table, and not in this test", code)
		}
	}
	statuses := []int{0, 400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 504, 599}
	byStatus := map[int]string{401: "ours", 403: "ours", 429: "not_sent"} // of codes that nobody knows
	cells := 0
	for code, verdict := range want {
		for _, status := range statuses {
			expected := verdict
			if other := byStatus[status]; verdict == "ambiguous" && other != "" {
				expected = other
			}
			class, reason := classify(answer{Status: status, Code: code})
			if got := strings.TrimSpace(string(class) + " " + string(reason)); got != expected {
				t.Errorf("%s under %d is %s, want %s", code, status, got, expected)
			}
			cells++
		}
	}
	t.Logf("%d codes under %d statuses: %d cells", len(want), len(statuses), cells)
}

func TestWhatAnInvalidParameterIsAbout(t *testing.T) {
	for message, want := range map[string]string{
		"": "permanent invalid_number",
		"Invalid parameter: PhoneNumber Reason: +17015559443 is not valid to publish to":                    "permanent invalid_number",
		"Invalid parameter: PhoneNumber Reason: +17015559443 is opted out":                                  "permanent opted_out",
		"Invalid parameter: MessageAttributes Reason: the value of AWS.SNS.SMS.SenderID is not valid":       "permanent unsendable",
		"Invalid parameter: AWS.MM.SMS.OriginationNumber Reason: +12065550100 is not owned by this account": "permanent unsendable",
	} {
		class, reason := classify(answer{Status: 400, Code: "InvalidParameter", About: aboutOf(message)})
		if got := string(class) + " " + string(reason); got != want {
			t.Errorf("%q: %s, want %s", message, got, want)
		}
	}
}

func FuzzClassify(f *testing.F) {
	f.Add(400, "Throttling", 0)
	f.Add(0, "", 1)
	f.Fuzz(func(t *testing.T, status int, code string, r int) {
		class, reason := classify(answer{Status: status, Code: plainCode(code), Reach: reach(r)})
		if (class == permanent) != (reason != "") {
			t.Fatalf("%s %q", class, reason)
		}
		if class == wasSent && status != 200 {
			t.Fatalf("status %d counts as sent", status)
		}
	})
}

func TestB24TheWaitGrows(t *testing.T) {
	at := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
	var s sends
	for i, want := range []time.Duration{30, 60, 120, 240, 300, 300, 300} {
		if err, _ := s.allowed(usualPerson, at); err != nil {
			t.Fatalf("text %d at its time: %v", i+1, err)
		}
		s = s.with(at, "c", "f", 1)
		next, _, _ := s.next(usualPerson)
		if got := next.Sub(at); got != want*time.Second {
			t.Errorf("after %d texts the wait is %v, want %v", i+1, got, want*time.Second)
		}
		err, _ := s.allowed(usualPerson, next.Add(-time.Millisecond))
		if code := map[bool]contract.Code{true: contract.RateLimited, false: contract.TooSoon}[i == 4]; err == nil || err.Code != code {
			t.Errorf("a moment too early after %d texts: %v, want %s", i+1, err, code)
		}
		at = next
	}
	s.Forgiven = s.Serial
	if err, _ := s.allowed(usualPerson, at); err != nil {
		t.Errorf("after a right code: %v", err)
	}
}

func TestB24NoMoreThanFiveInTenMinutes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
		var s sends
		var unanswered, all []time.Time
		for _, step := range rapid.SliceOfN(rapid.OneOf(rapid.IntRange(0, 400), rapid.IntRange(0, 20_000)), 1, 200).Draw(t, "seconds") {
			now = now.Add(time.Duration(step) * time.Second)
			if step%17 == 3 {
				s.Forgiven, unanswered = s.Serial, nil
			}
			next, _, _ := s.next(usualPerson)
			refused, by := s.allowed(usualPerson, now)
			if (refused == nil) == now.Before(next) {
				t.Fatal("next and allowed disagree")
			}
			if refused != nil && (refused.Code == contract.RateLimited) != (by != meter.Limit{}) {
				t.Fatalf("%v by %v", refused, by)
			}
			if refused != nil {
				continue
			}
			s = s.with(now, "c", "f", 1)
			unanswered, all = append(unanswered, now), append(all, now)
			for _, l := range usualPerson {
				if n := within(unanswered, now, l.Window); n > l.Most {
					t.Fatalf("%d unanswered texts in %v", n, l.Window)
				}
			}
			if n := within(all, now, window); n > mostTexts {
				t.Fatalf("%d texts in ten minutes", n)
			}
			if len(s.Recent) > mostKept {
				t.Fatalf("%d texts are remembered", len(s.Recent))
			}
		}
	})
}

func within(times []time.Time, now time.Time, window time.Duration) int {
	n := 0
	for _, at := range times {
		if now.Sub(at) < window {
			n++
		}
	}
	return n
}

func TestANewerTextOfTheSameFlowReplacesTheEarlier(t *testing.T) {
	at := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
	s := sends{}.with(at, "a1", "a", 1).with(at.Add(time.Minute), "b1", "b", 1).with(at.Add(2*time.Minute), "a2", "a", 1)
	if !s.superseded("a1", "a") || s.superseded("b1", "b") || s.superseded("a2", "a") || s.superseded("unknown", "a") {
		t.Error("the wrong challenges are superseded")
	}
	if got := s.earlier(at.Add(2*time.Minute), "a2", "a"); len(got) != 1 || got[0] != "a1" {
		t.Errorf("earlier = %v", got)
	}
	if got := s.earlier(at.Add(6*time.Minute), "a3", "a"); len(got) != 1 || got[0] != "a2" {
		t.Errorf("earlier = %v", got)
	}
}

func TestCodesAreDrawnEvenly(t *testing.T) {
	for raw, want := range map[string]string{
		"\x00\x00\x00": "000000", "\x00\x00\x2a": "000042", "\x0f\x42\x3f": "999999", "\x0f\x42\x40": "000000",
		"\xf4\x23\xff": "999999", "\xf4\x24\x00\x00\x00\x07": "000007", "\xff\xff\xff\xff\xff\xff\x00\x00\x01": "000001",
	} {
		got, err := newCode(strings.NewReader(raw))
		if err != nil || got.Reveal() != want {
			t.Errorf("newCode(%x) = %q, %v; want %q", raw, got.Reveal(), err, want)
		}
	}
	if _, err := newCode(bytes.NewReader([]byte{1, 2})); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("without randomness: %v", err)
	}
}

func TestBackOffIsFullJitter(t *testing.T) {
	for i := range 200 {
		b := &fullJitter{}
		b.Reset()
		for n := range 8 {
			bound := min(time.Duration(float64(firstBackOff)*math.Pow(2, float64(n))), longestBackOff)
			if got := b.NextBackOff(); got < 0 || got >= bound {
				t.Fatalf("run %d: wait %d is %v, want below %v", i, n+1, got, bound)
			}
		}
	}
}

func TestNextStep(t *testing.T) {
	now := time.Date(2026, 3, 12, 9, 0, 0, 0, time.UTC)
	soon, past := now.Add(time.Second), now.Add(-time.Second)
	for name, c := range map[string]struct {
		c    challenge
		want step
		out  contract.Outcome
	}{
		"new":                             {challenge{State: queued, ExpiresAt: soon, LeaseUntil: now}, stepSend, ""},
		"mine, between two attempts":      {challenge{State: queued, ExpiresAt: soon, Worker: "me", LeaseUntil: soon, Attempts: 1}, stepSend, ""},
		"another's":                       {challenge{State: queued, ExpiresAt: soon, Worker: "x", LeaseUntil: soon}, stepNothing, ""},
		"another's call":                  {challenge{State: sending, ExpiresAt: soon, Worker: "x", LeaseUntil: soon}, stepNothing, ""},
		"another's call, expired":         {challenge{State: sending, ExpiresAt: past, Worker: "x", LeaseUntil: soon}, stepNothing, ""},
		"left by another":                 {challenge{State: sending, ExpiresAt: soon, Worker: "x", LeaseUntil: now, Attempts: 2}, stepSend, ""},
		"left by another after the third": {challenge{State: sending, ExpiresAt: soon, Worker: "x", LeaseUntil: now, Attempts: 3}, stepEnd, contract.OutcomeFailed},
		"three attempts":                  {challenge{State: queued, ExpiresAt: soon, Attempts: 3}, stepEnd, contract.OutcomeFailed},
		"expired":                         {challenge{State: queued, ExpiresAt: now}, stepEnd, contract.OutcomeExpired},
		"typed before SNS answered":       {challenge{State: queued, ExpiresAt: past, Closed: closedVerified, Attempts: 1}, stepEnd, contract.OutcomeSent},
		"sent":                            {challenge{State: stateSent, ExpiresAt: soon}, stepNothing, ""},
		"superseded":                      {challenge{State: stateSuperseded, Closed: closedSuperseded, ExpiresAt: past}, stepNothing, ""},
		"failed":                          {challenge{State: stateFailed, ExpiresAt: past}, stepNothing, ""},
		"ended as expired":                {challenge{State: stateExpired, ExpiresAt: past}, stepNothing, ""},
	} {
		got, out := next(c.c, "me", now)
		if got != c.want || out.outcome != c.out {
			t.Errorf("%s: step %d %s, want %d %s", name, got, out.outcome, c.want, c.out)
		}
	}
}
