"""What mailers and people write around a reply, language by language: data alone.

Covers the languages of `mail-parser-reply` (en, de, cs, da, es, fr, it, ja, ko, nl, pl, sv, zh) and pt,
ru, uk, fi, no, hu, tr, ro. All words are lower case: they are compared with `str.casefold`.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Header names of a quoted message, by what they stand for.
SENDER_KEYS = _words(
    "from von od fra de da van från lähettäjä expéditeur gönderen kimden feladó от від desde mittente"
    " remitente afzender absender 发件人 寄件者 差出人 보낸사람 nadawca"
)
DATE_KEYS = _words(
    "sent date gesendet datum odesláno sendt dato skickat enviado fecha envoyé"
    " inviato data verzonden wysłano"
    " lähetetty elküldve dátum отправлено дата надіслано gönderildi tarih 发送时间"
    " 日期 送信日時 日時 날짜 보낸날짜"
)
RECEIVER_KEYS = _words(
    "to cc bcc an komu kopie til kopi para à a aan do dw till kopia"
    " vastaanottaja címzett кому копия alıcı kime 收件人"
    " 抄送 宛先 받는사람 참조 destinatario destinataire reply-to antwort"
)
SUBJECT_KEYS = _words(
    "subject betreff předmět emne asunto objet oggetto onderwerp temat ämne"
    " assunto тема aihe tárgy konu subiect 主题"
    " 主旨 件名 제목"
)
OTHER_KEYS = _words(
    "organization organisation organización attachments importance wichtigkeit priority anlagen newsgroups"
    " reply-to sender message-id anhänge"
)

# (beginnings, the verb that says "wrote"): an attribution line holds both, in this order or the other.
ATTRIBUTION_VERBS = (
    "wrote", "writes", "schrieb", "geschrieben", "napsal", "napsala", "skrev",
    "skriver", "escribió", "écrit",
    "ha scritto", "scrive", "schreef", "napisał", "napisała", "nadesłał", "escreveu", "пишет", "написал",
    "написала", "написав", "kirjoitti", "írta", "yazdı", "a scris", "写道",
    "寫道", "书面", "님이 작성", "wrote",
    "said", "says", "さんは書きました", "のメール",
)  # fmt: skip

FORWARD_MARKS = (
    "forwarded message", "forwarded text", "forwarded mail", "forwarded article",
    "begin forwarded message", "forwarded by", "weitergeleitete nachricht",
    "anfang der weitergeleiteten", "weitergeleitete mail", "message transféré", "message transmis",
    "début du message", "mensaje reenviado", "inicio del mensaje reenviado", "messaggio inoltrato",
    "inizio messaggio inoltrato", "doorgestuurd bericht", "begin doorgestuurd", "przekazana wiadomość",
    "wiadomość przekazana", "přeposlaná zpráva", "videresendt", "vidarebefordrat meddelande",
    "mensagem encaminhada", "пересылаемое сообщение", "пересланное сообщение", "转发的邮件", "轉寄", "転送",
    "전달된", "välitetty viesti", "továbbított", "iletilen",
)  # fmt: skip

ORIGINAL_MARKS = (
    "original message", "original-nachricht", "ursprüngliche nachricht",
    "originalnachricht", "original appointment",
    "message d'origine", "message original", "mensaje original", "messaggio originale",
    "oorspronkelijk bericht", "wiadomość oryginalna", "oryginalna wiadomość", "původní zpráva",
    "oprindelig meddelelse", "ursprungligt meddelande", "originalmeddelande", "mensagem original",
    "исходное сообщение", "оригинал", "alkuperäinen viesti", "eredeti üzenet",
    "opprinnelig melding", "原始邮件",
    "原始郵件", "元のメッセージ", "원본 메시지", "reply message", "reply separator",
    "please reply above this line",
    "reply above this line", "bitte antworten sie oberhalb",
)  # fmt: skip

# What a greeting begins with; a name may follow.
GREETINGS = (
    "hi", "hello", "hey", "dear", "greetings", "good morning", "good afternoon", "good evening",
    "good day", "hi there", "hello there", "to whom it may concern", "respected", "hallo", "guten tag",
    "guten morgen", "guten abend", "sehr geehrte", "sehr geehrter", "liebe", "lieber", "liebes", "moin",
    "servus", "grüß gott", "bonjour", "bonsoir", "cher", "chère", "chers", "madame", "monsieur", "hola",
    "buenos días", "buenas tardes", "buenas noches", "estimado", "estimada", "estimados", "estimadas",
    "querido", "querida", "olá", "bom dia", "boa tarde", "boa noite", "prezado", "prezada", "prezados",
    "caro", "cara", "ciao", "buongiorno", "buonasera", "gentile", "gentili", "salve", "egregio",
    "beste", "geachte", "goedemorgen", "goedemiddag", "goedendag", "dzień dobry", "szanowny",
    "szanowna", "szanowni", "witam", "cześć", "dobrý den", "vážený", "vážená", "hej", "kære", "goddag",
    "bästa", "hei", "kjære", "hyvä", "arvoisa", "merhaba", "sayın", "bună ziua", "stimate", "stimată",
    "tisztelt", "kedves", "здравствуйте", "добрый день", "привет", "уважаемый", "уважаемая",
    "уважаемые", "добрий день", "шановний", "你好", "您好", "こんにちは", "안녕하세요",
)  # fmt: skip

# A line that holds one of these and little else begins a signature.
CLOSINGS = (
    "best regards", "kind regards", "warm regards", "warmest regards",
    "regards", "best wishes", "yours sincerely",
    "yours faithfully", "yours truly", "sincerely", "sincerely yours",
    "respectfully", "cheers", "all the best",
    "best", "with best regards", "with kind regards", "many thanks and best regards", "thanks and regards",
    "thanks & regards", "mit freundlichen grüßen", "mit freundlichen gruessen", "mit freundlichem gruß",
    "freundliche grüße", "viele grüße", "viele gruesse", "beste grüße", "liebe grüße", "herzliche grüße",
    "schöne grüße", "beste gruesse", "mit besten grüßen", "gruß", "grüße",
    "mfg", "lg", "vg", "hochachtungsvoll",
    "s pozdravem", "s úctou", "s přáním hezkého dne", "hezký den", "med venlig hilsen", "venlig hilsen",
    "bedste hilsner", "hilsen", "mvh", "saludos", "un saludo", "un cordial saludo", "saludos cordiales",
    "atentamente", "cordialmente", "cordialement", "bien cordialement",
    "bien à vous", "salutations distinguées",
    "sincères salutations", "meilleures salutations", "bonne journée", "bonne réception", "cordiali saluti",
    "distinti saluti", "un cordiale saluto", "saluti", "met vriendelijke groet", "met vriendelijke groeten",
    "hartelijke groeten", "groeten", "mvg", "z poważaniem", "pozdrawiam",
    "z pozdrowieniami", "med vänliga hälsningar",
    "vänliga hälsningar", "bästa hälsningar", "hälsningar", "atenciosamente",
    "com os melhores cumprimentos",
    "cumprimentos", "с уважением", "с наилучшими пожеланиями", "з повагою",
    "ystävällisin terveisin", "terveisin",
    "üdvözlettel", "tisztelettel", "saygılarımla", "cu stimă",
    "med vennlig hilsen", "此致", "敬礼", "祝好", "此致敬礼",
    "よろしくお願いします", "よろしくお願いいたします", "敬具", "감사합니다", "안부 전합니다",
    "좋은 하루 되세요",
)  # fmt: skip

# Beginnings of the line that a phone or a free mailer adds.
MOBILE_SIGNATURES = (
    "sent from my", "sent from mail for windows", "sent from outlook",
    "sent from yahoo", "sent with sparrow",
    "sent via", "sent using", "get outlook for", "von meinem", "gesendet von",
    "gesendet mit", "gesendet aus",
    "diese nachricht wurde von meinem", "envoyé de mon", "envoyé depuis",
    "envoyé à partir", "enviado desde mi",
    "enviado do meu", "enviado desde", "inviato da", "inviato dal mio",
    "verzonden vanaf mijn", "verstuurd vanaf mijn",
    "wysłano z", "wysłane z", "odesláno z", "sendt fra min", "sendt fra",
    "hent outlook", "skickat från min",
    "skickat från", "отправлено с", "отправлено из", "надіслано з",
    "lähetetty", "内の", "从我的", "发自我的",
    "iphoneから送信", "androidから送信", "내 iphone에서", "나의 iphone에서",
    "obtenez outlook pour", "obtener outlook para",
    "holen sie sich outlook", "outlook für ios", "scarica outlook", "pobierz outlook",
)  # fmt: skip

# Two of one row in one paragraph make a disclaimer; a strong one is enough.
DISCLAIMER_STRONG = (
    "confidentiality notice", "this email and any files transmitted with it",
    "this e-mail and any files transmitted",
    "this message is intended only for", "intended only for the use of the individual",
    "solely for the use of the individual",
    "diese e-mail enthält vertrauliche", "diese email enthält vertrauliche",
    "diese nachricht enthält vertrauliche",
    "ce message et toutes les pièces jointes", "ce courriel et les documents",
    "este mensaje y sus archivos adjuntos", "este correo electrónico y",
    "questo messaggio e i suoi allegati",
    "le informazioni contenute in questo messaggio",
    "dit bericht kan informatie bevatten", "esta mensagem pode conter",
    "this email originated from outside", "this email came from outside",
    "this message originated from outside",
    "this message was sent from outside", "external email: use caution", "caution: external",
    "please consider the environment before printing", "bitte denken sie an die umwelt",
    "virus-free. www.avast.com", "this email has been checked for viruses", "diese e-mail wurde von avast",
    "この電子メールは", "本邮件及其附件", "本邮件含有保密信息", "이 메일은 지정된",
)  # fmt: skip
DISCLAIMER_WEAK = (
    "confidential", "privileged", "intended recipient", "intended solely", "intended only", "disclaimer",
    "received this email in error", "received this e-mail in error", "received this message in error",
    "received it in error", "in error, please", "unauthorized",
    "unauthorised", "strictly prohibited", "legally",
    "notify the sender", "liability", "disclose", "disclosure",
    "views expressed", "vertraulich", "irrtümlich",
    "unbefugt", "bestimmungsgemäße", "adressat", "nicht gestattet",
    "confidentiel", "destinataire", "par erreur",
    "diffusion", "interdite", "confidencial", "destinatario", "por error",
    "prohibid", "riservat", "per errore",
    "vietat", "vertrouwelijk", "geadresseerde", "ten onrechte", "poufn",
    "adresat", "důvěrn", "omylem", "fortrolig",
    "konfidentiell", "mottagare", "destinatário", "конфиденциальн", "получател",
)  # fmt: skip

# Lines of a mailing that no person typed; judged only where they are short, and strictly outside bulk mail.
BOILERPLATE = (
    "unsubscribe", "opt out", "opt-out", "view this email in your browser",
    "view in browser", "view online",
    "view it in your browser", "having trouble viewing", "trouble reading this", "trouble viewing this",
    "can't see images", "manage your preferences", "manage preferences",
    "email preferences", "update your preferences",
    "update your profile", "you are receiving this", "you're receiving this",
    "you received this", "was sent to",
    "to be removed from", "remove yourself", "privacy policy",
    "add us to your address book", "all rights reserved",
    "forward to a friend", "abmelden", "abbestellen", "abmeldelink",
    "newsletter abbestellen", "im browser ansehen",
    "im browser öffnen", "online-version", "webversion", "sie erhalten diese", "datenschutzerklärung",
    "se désabonner", "se désinscrire", "désinscription", "désabonner",
    "voir dans le navigateur", "version en ligne",
    "vous recevez cet", "darse de baja", "cancelar suscripción",
    "cancelar la suscripción", "ver en el navegador",
    "ver en navegador", "usted recibe este", "annulla l'iscrizione", "annulla iscrizione", "disiscriviti",
    "cancella l'iscrizione", "visualizza nel browser", "afmelden", "uitschrijven", "bekijk in browser",
    "bekijk online", "wypisz się", "zrezygnuj z subskrypcji", "odhlásit",
    "afmeld", "avregistrera", "cancelar inscrição",
    "отписаться", "退订", "取消订阅", "配信停止", "수신거부", "mailing list",
    "mailman/listinfo", "do not reply to this",
    "this is an automated", "please do not reply", "powered by mailchimp", "sponsored by",
)  # fmt: skip
