module sallyport/services/sallyport

go 1.26.0

require (
	sallyport/pkg v0.0.0
	sallyport/services/auth-gateway v0.0.0
	sallyport/services/policy-svc v0.0.0
	sallyport/services/sms-dispatcher v0.0.0
	sallyport/services/totp-svc v0.0.0
)

require (
	github.com/alecthomas/kong v1.17.0 // indirect
	golang.org/x/sync v0.24.0 // indirect
)

replace (
	sallyport/pkg => ../../pkg
	sallyport/services/auth-gateway => ../auth-gateway
	sallyport/services/policy-svc => ../policy-svc
	sallyport/services/sms-dispatcher => ../sms-dispatcher
	sallyport/services/totp-svc => ../totp-svc
)
