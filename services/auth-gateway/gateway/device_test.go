package gateway

import (
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/gofiber/fiber/v2"
)

func TestADeviceIsNamed(t *testing.T) {
	for agent, want := range map[string]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0":                                                               "Firefox on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36":                                "Chrome on Windows",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36 Edg/138.0.0.0":                  "Edge on Windows",
		"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15":                          "Safari on Mac",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1":        "Safari on iPhone",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/138.0.7204.53 Mobile/15E148 Safari/604.1": "Chrome on iPhone",
		"Mozilla/5.0 (Linux; Android 14; Pixel 9) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Mobile Safari/537.36":                          "Chrome on Android",
		"Mozilla/5.0 (Linux; Android 14; SM-S921B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/28.0 Chrome/130.0.0.0 Mobile Safari/537.36":     "Samsung Internet on Android",
		"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/138.0.0.0 Safari/537.36":                                 "Chrome on ChromeOS",
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/138.0.0.0 Safari/537.36":                                  "Chrome on Linux",
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/136.0.0.0 Safari/537.36 OPR/121.0.0.0":                  "Opera on Windows",
		"curl/8.14.1":                           "curl",
		"Go-http-client/1.1":                    "a Go program",
		"Windows":                               "Windows",
		"":                                      "",
		"<script>alert(1)</script> something/1": "",
	} {
		browser, system := readAgent(agent)
		if got := (device{Browser: browser, System: system}).words(); got != want {
			t.Errorf("%q is %q, want %q", agent, got, want)
		}
	}
}

func TestANetworkIsNoAddress(t *testing.T) {
	for address, want := range map[string]string{
		"203.0.113.77": "203.0.113.0/24", "::ffff:203.0.113.77": "203.0.113.0/24", "2001:db8:7:1:a:b:c:d": "2001:db8:7:1::/64", "fe80::1%eth0": "fe80::/64",
	} {
		if got := networkOf(netip.MustParseAddr(address)); got != want {
			t.Errorf("%s is in %q, want %q", address, got, want)
		}
	}
	if got := networkOf(netip.Addr{}); got != "" {
		t.Errorf("no address is in %q", got)
	}
}

func TestOnlyOurProxiesSayWhoCalls(t *testing.T) {
	// The server's own test requests come from 0.0.0.0.
	for name, c := range map[string]struct {
		trusted   []string
		forwarded []string
		want      string
	}{
		"no proxy is trusted":            {nil, []string{"203.0.113.7"}, "0.0.0.0"},
		"another one is":                 {[]string{"10.0.0.0/8"}, []string{"203.0.113.7"}, "0.0.0.0"},
		"it is":                          {[]string{"0.0.0.0"}, []string{"203.0.113.7"}, "203.0.113.7"},
		"what the client wrote":          {[]string{"0.0.0.0"}, []string{"192.0.2.1, 203.0.113.7"}, "203.0.113.7"},
		"two of ours":                    {[]string{"0.0.0.0", "10.0.0.0/8"}, []string{"192.0.2.1, 203.0.113.7, 10.1.2.3"}, "203.0.113.7"},
		"no address":                     {[]string{"0.0.0.0"}, []string{"nobody"}, "0.0.0.0"},
		"nothing":                        {[]string{"0.0.0.0"}, nil, "0.0.0.0"},
		"nothing that it did not add":    {[]string{"0.0.0.0", "10.0.0.0/8"}, []string{"10.1.2.3"}, "10.1.2.3"},
		"an address of the other family": {[]string{"0.0.0.0"}, []string{"2001:db8::1"}, "2001:db8::1"},
		"a line that the proxy added":    {[]string{"0.0.0.0"}, []string{"203.0.113.9", "198.51.100.7"}, "198.51.100.7"},
		"lines of two of ours":           {[]string{"0.0.0.0", "10.0.0.0/8"}, []string{"203.0.113.9, 198.51.100.7", "10.1.2.3"}, "198.51.100.7"},
		"an empty last line":             {[]string{"0.0.0.0"}, []string{"203.0.113.9", ""}, "0.0.0.0"},
		"with a port":                    {[]string{"0.0.0.0"}, []string{"192.0.2.1, 203.0.113.7:5678"}, "203.0.113.7"},
		"IPv6 with a port":               {[]string{"0.0.0.0"}, []string{"[2001:db8::1]:99"}, "2001:db8::1"},
		"IPv6 in brackets":               {[]string{"0.0.0.0"}, []string{"[2001:db8::1]"}, "2001:db8::1"},
		"ours with a port":               {[]string{"0.0.0.0", "10.0.0.0/8"}, []string{"203.0.113.7:1, 10.1.2.3:2"}, "203.0.113.7"},
	} {
		app := fiber.New()
		var got caller
		app.Get("/", func(ctx *fiber.Ctx) error {
			got = callerOf(ctx, trustedNetworks(c.trusted))
			return nil
		})
		req := httptest.NewRequestWithContext(t.Context(), "GET", "/", nil)
		for _, line := range c.forwarded {
			req.Header.Add("X-Forwarded-For", line)
		}
		resp, err := app.Test(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close() // it is empty
		if got.address.String() != c.want {
			t.Errorf("%s: the call comes from %s, want %s", name, got.address, c.want)
		}
	}
}
