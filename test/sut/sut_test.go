package sut_test

import (
	"testing"
	"time"

	"sallyport/test/sut"
)

func TestMain(m *testing.M) { sut.Main(m) }

// TestCodeAt checks our use of oathtool against RFC 6238, appendix B (six digits of the eight).
func TestCodeAt(t *testing.T) {
	const key = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ" // "12345678901234567890"
	for at, want := range map[int64]string{59: "287082", 1111111109: "081804", 20000000000: "353130"} {
		if got := sut.CodeAt(t, key, time.Unix(at, 0)); got != want {
			t.Errorf("at %d: %s, want %s", at, got, want)
		}
	}
}

// TestRestart checks that a product can be stopped, killed and started again on what it kept.
func TestRestart(t *testing.T) {
	p := sut.Start(t, sut.Options{Demo: true, Env: sut.Fast(nil)})
	key, session := p.EnrolTOTP("agent@demo.test")
	p.Kill9()
	p.Resume()
	sut.Expect(t, p.Who(session), 200, "")
	p.Restart()
	p.SignInTOTP("agent@demo.test", key)
}

// TestSplit checks that five processes make one product.
func TestSplit(t *testing.T) {
	s := sut.StartSplit(t, sut.SplitOptions{Demo: true, Env: sut.Fast(nil)})
	s.EnrolSMS("clerk@acme.test", "+17015559443")
	session := s.SignInSMS("clerk@acme.test", "+17015559443")
	s.Service["auth-gateway"].Kill9()
	s.StartService("auth-gateway")
	sut.Expect(t, s.Who(session), 200, "")
}
