package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"sallyport/test/sut"
)

// TestAnyStartOrder starts the services before the parts that they need, in several orders: each lives, says that it is
// not ready, and is ready by itself once the parts are there.
func TestAnyStartOrder(t *testing.T) {
	t.Parallel()
	s := sut.StartSplit(t, sut.SplitOptions{Demo: true, Env: sut.Fast(nil)})
	session := s.BeginSignIn(entra).Session.Token
	down := func() {
		for _, place := range slices.Backward(s.Places) {
			if p := s.Service[place]; p.Running() {
				p.Terminate()
			}
		}
	}
	for _, order := range [][]string{
		{"auth-gateway", "policy-svc", "sms-dispatcher", "totp-svc"},
		{"sms-dispatcher", "auth-gateway", "totp-svc", "policy-svc"},
		{"policy-svc", "totp-svc", "auth-gateway", "sms-dispatcher"},
	} {
		down()
		s.Infra.Terminate()
		for _, name := range order {
			s.BeginService(name)
			sut.Eventually(t, 30*time.Second, name+" lives", func() bool {
				a, err := sut.NewClient(t, s.OpsURL(name)).Try(t.Context(), "GET", "/healthz", "", nil)
				return err == nil && a.Status == 200
			})
		}
		for _, name := range order {
			if s.Ready(name) {
				t.Errorf("%v: %s is ready without parts", order, name)
			}
		}
		s.StartInfra()
		for _, name := range order {
			s.AwaitService(name)
		}
		sut.Expect(t, s.Who(session), 200, "")
		stands(t, s.BeginSignIn(agent), "enroll")
		stands(t, s.BeginSignIn(entra), "complete")
	}

	// The others come after the gateway: it is ready, does what it can do alone, and says of the rest that it cannot.
	down()
	s.StartService("auth-gateway")
	sut.Expect(t, s.Who(session), 200, "")
	if a := s.Do("GET", "/sign-in", "", nil); a.Status != 200 {
		t.Errorf("the sign-in page of a gateway alone: status %d", a.Status)
	}
	sut.Expect(t, s.Do("POST", "/v1/sign-ins", "", map[string]string{"email": agent, "password": "wrong"}), 401, "invalid_credentials")
	refused(t, s, "a sign-in at a gateway alone", "POST", "/v1/sign-ins", "", sut.Credentials(agent))
	if !s.Ready("auth-gateway") {
		t.Error("a gateway alone is not ready: a missing policy-svc would take every gateway out of its balancer")
	}
	finds(t, s.Doctor(1, nil), "services", "fail", strings.TrimPrefix(s.OpsURL("policy-svc"), "http://"))
	s.StartService("policy-svc")
	stands(t, s.BeginSignIn(entra), "complete") // needs no more
	begun := s.BeginSignIn(agent)
	refused(t, s, "an enrolment without totp-svc", "POST", begun.Path("/enrollment"), begun.Token, map[string]string{"factor": "totp"})
	s.StartService("totp-svc")
	sut.Expect(t, s.Do("POST", begun.Path("/enrollment"), begun.Token, map[string]string{"factor": "totp"}), 201, "")
	s.StartService("sms-dispatcher")
	s.EnrolSMS(clerk, clerkPhone)
}

// TestAGatewayTakesItsLeave: from SIGTERM on a gateway is not ready, and serves on for STOP_DELAY, so that a balancer
// notices before anybody is refused.
func TestAGatewayTakesItsLeave(t *testing.T) {
	t.Parallel()
	const delay = 5 * time.Second // the longest there is: all of this takes its time on a busy machine
	s := sut.StartSplit(t, sut.SplitOptions{Demo: true, Env: sut.Fast(map[string]string{"STOP_DELAY": delay.String()})})
	session := s.BeginSignIn(entra).Session.Token
	gateway := s.Service["auth-gateway"]
	stopped := make(chan time.Duration, 1)
	go func() { stopped <- gateway.Terminate() }()
	sut.Eventually(t, delay, "the gateway says that it is not ready", func() bool { return !s.Ready("auth-gateway") })
	if !gateway.Running() {
		t.Fatal("the gateway is gone at once")
	}
	sut.Expect(t, s.Who(session), 200, "")
	stands(t, s.BeginSignIn(entra), "complete")
	if took := <-stopped; took < delay {
		t.Errorf("the gateway was gone after %v; STOP_DELAY is %v", took, delay)
	}
}
