"""Short emails of many kinds, written for the parity gate, which has to judge before there is any mail."""

SAMPLE_MAIL = (
    "Where is my parcel?\nI ordered two weeks ago and the tracking page has said 'on its way' ever since.",
    "Invoice 2291\nGood morning, the VAT number on your invoice is wrong. Could you send a corrected one?",
    "I cannot log in any more. The code never arrives on my phone, and I have tried three times.",
    "Cancel\nPlease cancel my subscription at the end of the month and confirm in writing.",
    "Thank you!\nThat solved it, you can close the ticket.",
    "The screen stays black after the update. Restarting does not help. The serial number is on the photo.",
    "Complaint\nI have been waiting for an answer for three weeks and nobody feels responsible. I want my "
    "money back or I will go to the ombudsman.",
    "Do you ship to Norway, and how much would it cost for twelve boxes?",
    "Meeting on Thursday\nCould we move it to 3 pm? Anna will join us from the legal department.",
    "I moved house last week, the new address is below. Please update my account before the next delivery.",
    "Application as accountant\nPlease find attached my CV and references. I could start in May.",
    "Datenschutz\nBitte löschen Sie alle meine Daten und bestätigen Sie mir das schriftlich.",
    "Bonjour, j'ai été débité deux fois pour la même commande. Merci de me rembourser.",
    "La aplicación se cierra sola cuando intento adjuntar una foto. ¿Qué puedo hacer?",
    "Re: Quote\nThe price is fine. Please send the contract so that we can sign it this week.",
    "Newsletter\nUnsubscribe me, I never asked for this.",
    "Password",
    "Hi, quick question: is the warranty still valid if I bought it second hand from a friend?",
    "Our server has been down since 6 am and sixty people cannot work. This is urgent, call me back at once.",
    "I would like to add my wife to the policy and to know what that changes in the yearly premium.",
)
