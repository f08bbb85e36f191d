def need_plotly(): pass
def to_html(r): return ""
