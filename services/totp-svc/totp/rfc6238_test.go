package totp

import (
	"crypto/rand"
	"encoding/base32"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pquerna/otp"
	other "github.com/pquerna/otp/totp"

	"sallyport/pkg/digits"
)

var rfcSeed = []byte("12345678901234567890")

func TestRFC4226AppendixD(t *testing.T) {
	for counter, want := range []string{
		"755224", "287082", "359152", "969429", "338314", "254676", "287922", "162583", "399871", "520489",
	} {
		if got := hotp(rfcSeed, int64(counter), 6); got != want {
			t.Errorf("counter %d: %s, want %s", counter, got, want)
		}
	}
}

func TestB13RFC6238AppendixB(t *testing.T) {
	for at, want := range map[int64]string{
		59: "94287082", 1111111109: "07081804", 1111111111: "14050471", 1234567890: "89005924", 2000000000: "69279037", 20000000000: "65353130",
	} {
		now := time.Unix(at, 0)
		if got := hotp(rfcSeed, stepAt(now), 8); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
		if step, ok := matchStep(rfcSeed, want[2:], now); !ok || step != stepAt(now) {
			t.Errorf("at %d: its code matches step %d, %v", at, step, ok)
		}
	}
}

func TestB13OtherAuthenticatorsAgree(t *testing.T) {
	oathtool, err := exec.LookPath("oathtool")
	for i := range 200 {
		seed := make([]byte, seedBytes)
		_, _ = rand.Read(seed)
		at := time.Unix(1_500_000_000+int64(i)*12_345_678, 0)
		text := base32.StdEncoding.EncodeToString(seed)
		want, err := other.GenerateCode(text, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := hotp(seed, stepAt(at), 6); got != want {
			t.Fatalf("at %v: %s, pquerna/otp says %s", at, got, want)
		}
	}
	if err != nil {
		t.Skip("oathtool is not installed")
	}
	at := time.Unix(1_700_000_123, 0)
	out, err := exec.Command(oathtool, "--totp", "--base32", "--now", at.UTC().Format("2006-01-02 15:04:05 UTC"),
		base32.StdEncoding.EncodeToString(rfcSeed)).Output()
	if err != nil {
		t.Fatal(err)
	}
	if got, want := hotp(rfcSeed, stepAt(at), 6), strings.TrimSpace(string(out)); got != want {
		t.Fatalf("%s, oathtool says %s", got, want)
	}
}

func TestTheWindowIsThreeSteps(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	for offset := int64(-125); offset <= 125; offset++ {
		step := stepAt(now) + offset
		code := hotp(rfcSeed, step, 6)
		got, ok := matchStep(rfcSeed, code, now)
		if want := -1 <= offset && offset <= 1; ok != want || ok && got != step {
			t.Errorf("offset %d: step %d, %v", offset, got, ok)
		}
		found := slices.Contains(matchOutside(rfcSeed, code, now), step)
		if want := !ok && -120 <= offset && offset <= 120; found != want {
			t.Errorf("offset %d: found outside is %v", offset, found)
		}
	}
	if _, ok := matchStep(rfcSeed, hotp(rfcSeed, 0, 6), time.Unix(0, 0)); !ok {
		t.Error("the first step there is has no code")
	}
}

// A code of two steps of the window is the later one's: it cannot be used once for each.
func TestACodeOfTwoSteps(t *testing.T) {
	const step = 50_424_280
	if hotp(rfcSeed, step, 6) != hotp(rfcSeed, step+1, 6) {
		t.Fatal("the codes of these two steps are the same")
	}
	if got, ok := matchStep(rfcSeed, hotp(rfcSeed, step, 6), time.Unix(step*30, 0)); !ok || got != step+1 {
		t.Fatalf("matches %d, %v; want the later step, %d", got, ok, step+1)
	}
}

// FuzzCanonicalCode holds the reading of a typed code against the rule in other words: without spaces and dashes there
// are exactly six ASCII digits, with nothing but spaces and dashes between them.
func FuzzCanonicalCode(f *testing.F) {
	for _, seed := range []string{
		"123456", "123 456", "123-456", " 123456 ", "1 2 3 4 5 6", "-123456", "+123456", "123456\n", "\t123456", "12345",
		"1234567", "", "１２３４５６", "١٢٣٤٥٦", "123\u00a0456", "123\u2009456", "123\u2013456", "12345a", "1e5000", "123456\x00", "0x1234",
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := digits.Canonical(typed)
		if !ok {
			return
		}
		if len(code) != 6 || strings.Trim(code, "0123456789") != "" {
			t.Fatalf("%q is read as %q", typed, code)
		}
		if strings.NewReplacer(" ", "", "-", "").Replace(typed) != code {
			t.Fatalf("%q is read as %q: something else than spaces and dashes was dropped", typed, code)
		}
		if again, ok := digits.Canonical(code); !ok || again != code {
			t.Fatalf("%q is read as %q, and that as %q", typed, code, again)
		}
	})
}

func TestKeyURI(t *testing.T) {
	for _, c := range []struct{ issuer, account, wantIssuer, wantAccount string }{
		{"Northwind Portal", "dana@northwind.test", "Northwind Portal", "dana@northwind.test"},
		{"North:wind", "a:b@c.test", "North wind", "a b@c.test"},
		{" Ünï & Söhne?#/% ", "o'brien+x@b.test", "Ünï & Söhne?#/%", "o'brien+x@b.test"},
		{"a\u202eb\nc", "x\x00y", "a b c", "x y"},
	} {
		issuer, account := keyName(c.issuer, 64), keyName(c.account, 128)
		uri, err := keyURI(rfcSeed, issuer, account)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(fmt.Sprint(uri), "GEZD") {
			t.Error("the URI can be printed")
		}
		key, err := otp.NewKeyFromURL(uri.Reveal())
		if err != nil {
			t.Fatal(err)
		}
		if key.Issuer() != c.wantIssuer || key.AccountName() != c.wantAccount || key.Type() != "totp" || key.Period() != 30 ||
			key.Digits() != otp.DigitsSix || key.Algorithm() != otp.AlgorithmSHA1 || key.Secret() != "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" {
			t.Errorf("%q, %q: %s", c.issuer, c.account, uri.Reveal())
		}
		if strings.ContainsAny(uri.Reveal(), " +'\"") {
			t.Errorf("not escaped: %s", uri.Reveal())
		}
	}
	if got := keyName(strings.Repeat("é", 200), 64); got != strings.Repeat("é", 64) {
		t.Errorf("a long name becomes %q", got)
	}
}

func TestDeviceLabel(t *testing.T) {
	for typed, want := range map[string]string{
		"": "", "  Pixel 9 ": "Pixel 9", "Dana's 手机 📱": "Dana's 手机 📱", strings.Repeat("é", 64): strings.Repeat("é", 64),
		"👨‍👩‍👧": "👨‍👩‍👧",
	} {
		if got, err := deviceLabel(typed); got != want || err != nil {
			t.Errorf("%q: %q, %v", typed, got, err)
		}
	}
	for _, typed := range []string{strings.Repeat("é", 65), "a\x00b", "a\nb", "a\u202eb", "a\x7fb", "a\xffb"} {
		if _, err := deviceLabel(typed); err == nil {
			t.Errorf("%q was taken", typed)
		}
	}
}

func BenchmarkWrongCode(b *testing.B) {
	now := time.Unix(1_700_000_000, 0)
	for b.Loop() {
		matchStep(rfcSeed, "000000", now)
		matchOutside(rfcSeed, "000000", now)
	}
}
