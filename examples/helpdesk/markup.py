"""How mail clients set a message as HTML: webmail, Outlook, telephones, contact forms, mailings."""

import html
import re

from plaintext import LINK, Written, as_read, attribution, tracking_url, url_of

GMAIL_QUOTE_STYLE = "margin:0px 0px 0px 0.8ex;border-left:1px solid rgb(204,204,204);padding-left:1ex"
FORM_PARAGRAPH = '<p style="margin:0 0 8px">{}</p>'
CAMPAIGN_CELL = (
    "padding:12px 32px;font-family:Helvetica,Arial,sans-serif;font-size:15px;line-height:22px;color:#333333"
)
OUTLOOK_HEAD = """<html xmlns:v="urn:schemas-microsoft-com:vml" \
xmlns:o="urn:schemas-microsoft-com:office:office" xmlns:w="urn:schemas-microsoft-com:office:word" xmlns="http://www.w3.org/TR/REC-html40">
<head>
<meta http-equiv="Content-Type" content="text/html; charset={charset}">
<meta name="Generator" content="Microsoft Word 15 (filtered medium)">
<style><!--
/* Font Definitions */
@font-face
	{{font-family:Calibri;
	panose-1:2 15 5 2 2 2 4 3 2 4;}}
/* Style Definitions */
p.MsoNormal, li.MsoNormal, div.MsoNormal
	{{margin:0cm;
	font-size:11.0pt;
	font-family:"Calibri",sans-serif;}}
a:link, span.MsoHyperlink
	{{mso-style-priority:99;
	color:#0563C1;
	text-decoration:underline;}}
@page WordSection1
	{{size:612.0pt 792.0pt;
	margin:72.0pt 72.0pt 72.0pt 72.0pt;}}
div.WordSection1
	{{page:WordSection1;}}
--></style><!--[if gte mso 9]><xml>
<o:shapedefaults v:ext="edit" spidmax="1026" />
</xml><![endif]-->
</head>
<body lang="{lang}" link="#0563C1" vlink="#954F72" style="word-wrap:break-word">
<div class="WordSection1">
"""


def inline_html(line: str) -> str:
    """One line of notation → HTML."""
    out, at = [], 0
    for found in LINK.finditer(line):
        out.append(html.escape(line[at : found.start()], quote=False))
        out.append(
            f'<a href="{html.escape(url_of(found[2], found[1]))}" target="_blank">{html.escape(found[1])}</a>'
        )
        at = found.end()
    return "".join([*out, html.escape(line[at:], quote=False)])


def table_html(lines: list[str]) -> str:
    """Lines of `a | b` → a table as it is pasted from a spreadsheet."""
    rows = [
        "<tr>"
        + "".join(
            f'<td style="border:solid #bfbfbf 1pt;padding:0 5.4pt">{inline_html(c.strip())}</td>'
            for c in line.split("|")
        )
        + "</tr>"
        for line in lines
    ]
    return (
        '<table border="0" cellspacing="0" cellpadding="0" style="border-collapse:collapse">'
        + "\n".join(rows)
        + "</table>"
    )


def blocks_html(text: str, line_tag: str, empty: str) -> str:
    """Paragraphs of notation → HTML, each line in `line_tag` (with its `{}`), blank lines as `empty`."""
    out = []
    for paragraph in re.split(r"\n\n+", text.strip("\n")):
        lines = paragraph.split("\n")
        if len(lines) > 1 and all(" | " in line for line in lines):
            out.append(table_html(lines))
        else:
            out.append("\n".join(line_tag.format(inline_html(line)) for line in lines))
    return f"\n{empty}\n".join(out)


def markup(written: Written) -> str:
    """The message as HTML in the manner of its client."""
    writer = {"outlook": outlook_html, "apple": apple_html, "webform": form_html, "campaign": campaign_html}
    return writer.get(written.client.split("-")[0], gmail_html)(written)


def gmail_html(written: Written) -> str:
    """Divs, `gmail_signature` and `gmail_quote`."""
    tag, empty = "<div>{}</div>", "<div><br></div>"
    out = f'<div dir="ltr">{blocks_html(written.body, tag, empty)}'
    if written.signature:
        out += '<br clear="all"><div><br></div><span class="gmail_signature_prefix">-- </span><br>'
        out += f'<div dir="ltr" class="gmail_signature">{blocks_html(written.signature, tag, empty)}</div>'
    out += "</div>"
    if written.quoted is None:
        return out + "\n"
    inner = blocks_html(written.quoted.body, tag, empty)
    head = html.escape(attribution(written), quote=False).replace("\n", "<br>")
    if written.quoted.kind == "forward":
        return (
            f'{out}<br><div class="gmail_quote"><div dir="ltr" class="gmail_attr">{head}</div>'
            f"<br><br>{inner}</div>\n"
        )
    return (
        f'{out}<br><div class="gmail_quote gmail_quote_container">'
        f'<div dir="ltr" class="gmail_attr">{head}<br></div>'
        f'<blockquote class="gmail_quote" style="{GMAIL_QUOTE_STYLE}">{inner}</blockquote></div>\n'
    )


def outlook_html(written: Written) -> str:
    """Word's HTML: `MsoNormal`, `o:p`, and a ruled block above quoted text."""
    tag, empty = '<p class="MsoNormal">{}<o:p></o:p></p>', '<p class="MsoNormal"><o:p>&nbsp;</o:p></p>'
    out = OUTLOOK_HEAD.format(charset=written.charset, lang=written.lang.upper()) + blocks_html(
        written.body, tag, empty
    )
    if written.signature:
        gray = '<p class="MsoNormal"><span style="font-size:9.0pt;color:#7F7F7F">{}</span><o:p></o:p></p>'
        out += f"\n{empty}\n" + blocks_html(written.signature, gray, empty)
    if written.quoted is not None:
        lines = html.escape(attribution(written), quote=False).split("\n")
        head = "<br>\n".join(re.sub(r"^(\S+ ?:)", r"<b>\1</b>", line) for line in lines)
        rule = "border:none;border-top:solid #E1E1E1 1.0pt;padding:3.0pt 0cm 0cm 0cm"
        out += f'\n{empty}\n<div><div style="{rule}">'
        out += f'<p class="MsoNormal">{head}<o:p></o:p></p></div></div>\n{empty}\n'
        out += blocks_html(written.quoted.body, tag, empty)
    return out + "\n</div>\n</body>\n</html>\n"


def apple_html(written: Written) -> str:
    """A telephone's HTML: `dir=auto` and `blockquote type=cite`."""
    tag, empty = "<div>{}</div>", "<div><br></div>"
    out = '<html><head><meta http-equiv="content-type" content="text/html; charset=utf-8"></head>'
    out += '<body dir="auto">'
    out += blocks_html(written.body, tag, empty)
    if written.signature:
        out += f'<br><br><div dir="ltr">{blocks_html(written.signature, tag, empty)}</div>'
    if written.quoted is not None:
        head = html.escape(attribution(written), quote=False).replace("\n", "<br>")
        inner = blocks_html(written.quoted.body, tag, empty)
        out += f'<div dir="ltr"><br><blockquote type="cite">{head}<br><br></blockquote></div>'
        out += f'<blockquote type="cite"><div dir="ltr">{inner}</div></blockquote>'
    return out + "</body></html>\n"


def form_html(written: Written) -> str:
    """The mail that a contact form of the shop sends to the helpdesk."""
    rows = "\n".join(
        f'<tr><th align="left" style="padding:4px 12px 4px 0">{html.escape(k)}</th>'
        f"<td>{html.escape(v)}</td></tr>"
        for k, v in written.form.items()
    )
    return (
        '<!DOCTYPE html>\n<html><body style="font-family:Arial,sans-serif;font-size:14px">\n'
        f'<table role="presentation" cellspacing="0">\n{rows}\n</table>\n<hr>\n'
        f"{blocks_html(written.body, FORM_PARAGRAPH, '')}\n</body></html>\n"
    )


def campaign_html(written: Written) -> str:
    """A mailing: nested tables, a hidden preheader, a tracking pixel and redirecting links."""
    rows = "\n".join(
        f'<tr><td style="{CAMPAIGN_CELL}">{blocks_html(paragraph, "{}<br>", "")}</td></tr>'
        for paragraph in re.split(r"\n\n+", written.body.strip("\n"))
    )
    preheader = html.escape(as_read(written.body.strip().split("\n")[0])[:60])
    pixel = tracking_url("open", written.body[:40]).replace("click.", "open.")
    return (
        '<!DOCTYPE html>\n<html><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">\n'
        "<style>@media only screen and (max-width:600px){.wrap{width:100%!important}}</style></head>\n"
        '<body style="margin:0;padding:0;background:#f4f4f4">\n'
        f'<div style="display:none;max-height:0;overflow:hidden;mso-hide:all">{preheader}'
        "&#847;&zwnj;&nbsp;&#847;&zwnj;&nbsp;</div>\n"
        '<table role="presentation" width="100%" cellpadding="0" cellspacing="0"><tr><td align="center">\n'
        '<table role="presentation" class="wrap" width="600" cellpadding="0" cellspacing="0"'
        ' style="background:#ffffff">\n'
        f"{rows}\n</table></td></tr></table>\n"
        f'<img src="{html.escape(pixel)}" width="1" height="1" alt="" style="display:none">\n</body></html>\n'
    )
