module sallyport/test

go 1.26.0

require sallyport/pkg v0.0.0

require (
	github.com/chromedp/cdproto v0.159.0 // indirect
	github.com/chromedp/chromedp v0.23.0 // indirect
	github.com/go-json-experiment/json v0.0.0-20260213210345-44df1a37e875 // indirect
	sallyport/services/auth-gateway v0.0.0
	sallyport/services/policy-svc v0.0.0
	sallyport/services/sms-dispatcher v0.0.0
	sallyport/services/totp-svc v0.0.0
)

replace sallyport/pkg => ../pkg

replace sallyport/services/auth-gateway => ../services/auth-gateway

replace sallyport/services/totp-svc => ../services/totp-svc

replace sallyport/services/policy-svc => ../services/policy-svc

replace sallyport/services/sms-dispatcher => ../services/sms-dispatcher
