package gateway

import (
	"bytes"
	"context"
	"net/netip"
	"strings"

	"github.com/gofiber/fiber/v2"
)

// device is from where a person signed in, as far as they will know it again. What the browser says of itself is not
// kept, nor the address: a name, a system and a network are enough to tell one's own from a stranger's.
type device struct {
	// Browser and System are empty where they are none that we know.
	Browser string `json:"browser,omitempty"`
	System  string `json:"system,omitempty"`
	// Network is the /24 or /64 of the address.
	Network string `json:"network,omitempty"`
}

// words names a device: "Firefox on Windows". It is empty for one that cannot be named.
func (d device) words() string {
	if d.Browser != "" && d.System != "" {
		return d.Browser + " on " + d.System
	}
	return d.Browser + d.System
}

// caller is what a request says of where it comes from.
type caller struct {
	agent   string
	address netip.Addr
}

type callerKey struct{}

// deviceOf is the device of a request.
func deviceOf(ctx context.Context) device {
	c, _ := ctx.Value(callerKey{}).(caller)
	browser, system := readAgent(c.agent)
	return device{Browser: browser, System: system, Network: networkOf(c.address)}
}

// networkIn is the network that a request comes from, for limits; empty where it is not known.
func networkIn(ctx context.Context) string {
	c, _ := ctx.Value(callerKey{}).(caller)
	return networkOf(c.address)
}

// hint is a word in a User-Agent, and whom it stands for.
type hint struct{ word, name string }

// browsers are looked for in this order: nearly all of them claim to be Chrome and Safari as well.
var browsers = []hint{
	{"Edg/", "Edge"},
	{"EdgA/", "Edge"},
	{"EdgiOS/", "Edge"},
	{"OPR/", "Opera"},
	{"SamsungBrowser/", "Samsung Internet"},
	{"Vivaldi/", "Vivaldi"},
	{"YaBrowser/", "Yandex Browser"},
	{"DuckDuckGo/", "DuckDuckGo"},
	{"Firefox/", "Firefox"},
	{"FxiOS/", "Firefox"},
	{"HeadlessChrome/", "Chrome"},
	{"CriOS/", "Chrome"},
	{"Chrome/", "Chrome"},
	{"Chromium/", "Chromium"},
	{"Safari/", "Safari"},
	{"curl/", "curl"},
	{"Wget/", "Wget"},
	{"python-requests/", "Python"},
	{"Go-http-client/", "a Go program"},
	{"okhttp/", "an Android app"},
}

// systems are looked for in this order: an Android is a Linux, and an iPhone is "like Mac OS X".
var systems = []hint{
	{"Windows", "Windows"},
	{"iPhone", "iPhone"},
	{"iPad", "iPad"},
	{"Android", "Android"},
	{"CrOS", "ChromeOS"},
	{"Macintosh", "Mac"},
	{"Mac OS X", "Mac"},
	{"Linux", "Linux"},
	{"FreeBSD", "FreeBSD"},
	{"OpenBSD", "OpenBSD"},
}

// readAgent finds browser and system in a User-Agent. Only names from the lists above come out of it, whatever goes in.
func readAgent(agent string) (browser, system string) {
	find := func(in []hint) string {
		for _, t := range in {
			if strings.Contains(agent, t.word) {
				return t.name
			}
		}
		return ""
	}
	return find(browsers), find(systems)
}

// networkOf is the network of an address: its /24, or for IPv6 its /64.
func networkOf(a netip.Addr) string {
	a = a.Unmap().WithZone("")
	bits := 64
	if a.Is4() {
		bits = 24
	}
	p, err := a.Prefix(bits)
	if err != nil || !a.IsValid() {
		return ""
	}
	return p.String()
}

// callerOf is where a request comes from. Behind proxies that we trust it is the last address that they did not add
// themselves; what stands before that, anybody may have written. Several lines of the header are one list in their
// order (RFC 9110, 5.3): some proxies append to the line they got, others add one of their own.
func callerOf(c *fiber.Ctx, trusted []netip.Prefix) caller {
	out := caller{agent: c.Get(fiber.HeaderUserAgent)}
	out.address, _ = netip.AddrFromSlice(c.Context().RemoteIP())
	out.address = out.address.Unmap()
	known := func(a netip.Addr) bool {
		for _, p := range trusted {
			if p.Contains(a) {
				return true
			}
		}
		return false
	}
	if !known(out.address) {
		return out
	}
	hops := bytes.Split(bytes.Join(c.Request().Header.PeekAll(fiber.HeaderXForwardedFor), []byte(",")), []byte(","))
	for i := len(hops) - 1; i >= 0; i-- {
		a, ok := hopOf(string(bytes.TrimSpace(hops[i])))
		if !ok {
			break
		}
		if out.address = a.Unmap(); !known(out.address) {
			break
		}
	}
	return out
}

// hopOf reads one entry of X-Forwarded-For: an address, which some proxies write with its port or in brackets.
func hopOf(entry string) (netip.Addr, bool) {
	if at, err := netip.ParseAddrPort(entry); err == nil {
		return at.Addr(), true
	}
	if in, ok := strings.CutPrefix(entry, "["); ok {
		entry = strings.TrimSuffix(in, "]")
	}
	a, err := netip.ParseAddr(entry)
	return a, err == nil
}

// trustedNetworks are the proxies whose word counts. The settings were checked when they were read.
func trustedNetworks(list []string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range list {
		if a, err := netip.ParseAddr(s); err == nil {
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
		} else if p, err := netip.ParsePrefix(s); err == nil {
			out = append(out, p.Masked())
		}
	}
	return out
}
